"""BatchNorm and TensorNorm: values by hand, accurate sums."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    BatchNorm,
    ShiftBatchNorm,
    TensorNorm,
)

# --- Accuracy --------------------------------------------------------------------------------


def test_batchnorm_of_images_is_accurate_in_float32(backend, rng):
    x = (rng.standard_normal((100, 26, 26, 4)) + 3).astype(np.float32)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    results = []
    for dtype in (np.float32, np.float64):
        layer = BatchNorm(4).initialize(0, dtype).to(backend)
        y = layer.forward(backend.asarray(x.astype(dtype)), train=True)
        dx = layer.backward(backend.asarray(dy.astype(dtype)))
        arrays = y, dx, layer.gamma.grad, layer.beta.grad, layer.running_mean.data
        results.append([*map(backend.to_host, arrays), backend.to_host(layer.running_var.data)])
    for got, exact in zip(*results, strict=True):
        # 3e-6 of the largest: float32's precision for a mean of 3, with a standard deviation of 1.
        np.testing.assert_allclose(got, exact, rtol=0, atol=3e-6 * abs(exact).max())


# --- BatchNorm on images, and without gamma ---------------------------------------------------


def test_batchnorm_of_images_is_that_of_their_pixels(rng):
    x, dy = rng.standard_normal((2, 5, 3, 2, 4))
    results = []
    for shape in (x.shape, (-1, 4)):
        layer = BatchNorm(4).initialize(0, np.float64)
        layer.gamma.data[...] = [1, -2, 0.5, 3]
        y = layer.forward(x.reshape(shape), train=True)
        dx = layer.backward(dy.reshape(shape))
        evaluated = layer.forward(x.reshape(shape))
        results.append([y, dx, evaluated])
        assert y.shape == dx.shape == evaluated.shape == x.reshape(shape).shape
    for images, pixels in zip(*results, strict=True):
        np.testing.assert_allclose(images.reshape(pixels.shape), pixels, rtol=1e-12, atol=1e-12)


def test_batchnorm_without_scale_is_gamma_one(rng):
    x, dy = rng.standard_normal((2, 6, 3))
    plain, bare = (BatchNorm(3, scale=s).initialize(0, np.float64) for s in (True, False))
    assert [p.name for p in bare.parameters()] == ["beta"]
    assert repr(bare) == "BatchNorm(3, scale=False)"
    for layer in (plain, bare):
        layer.beta.data[...] = [1, 2, 3]
    np.testing.assert_array_equal(bare.forward(x, train=True), plain.forward(x, train=True))
    np.testing.assert_array_equal(bare.backward(dy), plain.backward(dy))
    np.testing.assert_array_equal(bare.forward(x), plain.forward(x))


def test_an_empty_batch_can_be_evaluated():
    assert BatchNorm(3).initialize(0).forward(np.zeros((0, 2, 3), np.float32)).shape == (0, 2, 3)


@pytest.mark.parametrize("kind", [BatchNorm, ShiftBatchNorm])
@pytest.mark.parametrize("shape", [(2, 5, 5, 4), (2, 4), (3,)])
def test_other_channels_are_refused_and_not_told_to_be_laid_flat(kind, shape):
    layer = kind(3).initialize(0)
    with pytest.raises(
        ValueError, match=r"expected x of shape \(batch, \.\.\., 3\), got "
    ) as caught:
        layer.forward(np.zeros(shape, np.float32))
    assert "Flatten" not in str(caught.value)


# --- TensorNorm -------------------------------------------------------------------------------


def test_tensornorm_by_hand():
    layer = TensorNorm(momentum=0.75, epsilon=1e-12).initialize(0, np.float64)
    layer.gamma.data[...], layer.beta.data[...] = 2.0, 5.0
    y = layer.forward(np.array([[1.0, 3.0], [3.0, 1.0]]), train=True)
    np.testing.assert_allclose(y, [[3.0, 7.0], [7.0, 3.0]])
    assert layer.running_mean.data[0] == pytest.approx(0.25 * 2)
    assert layer.running_var.data[0] == pytest.approx(0.75 + 0.25 * 4 / 3)  # unbiased
    np.testing.assert_allclose(layer.forward(np.array([[0.5, 0.5]])), [[5.0, 5.0]])


def test_tensornorm_is_a_batchnorm_of_one_channel(rng):
    x, dy = rng.standard_normal((2, 5, 3, 4))
    whole, one = (n.initialize(0, np.float64) for n in (TensorNorm(), BatchNorm(1, epsilon=1e-4)))
    y, expected = whole.forward(x, train=True), one.forward(x.reshape(-1, 1), train=True)
    np.testing.assert_allclose(y.ravel(), expected.ravel(), rtol=1e-12)
    dx, expected = whole.backward(dy), one.backward(dy.reshape(-1, 1))
    np.testing.assert_allclose(dx.ravel(), expected.ravel(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(whole.gamma.grad, one.gamma.grad, rtol=1e-12)
    assert [p.shape for p in whole.parameters()] == [(1,), (1,)]


@pytest.mark.parametrize("kind", [BatchNorm, ShiftBatchNorm])
def test_bad_construction_says_who(kind):
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: expected momentum in \[0, 1\)"):
        kind(3, momentum=1.0)
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: expected a positive epsilon"):
        kind(3, epsilon=0)


def test_batchnorm_by_hand():
    layer = BatchNorm(1, momentum=0.75, epsilon=1e-12).initialize(0, np.float64)
    layer.gamma.data[...], layer.beta.data[...] = 2.0, 5.0
    y = layer.forward(np.array([[1.0], [3.0]]), train=True)
    np.testing.assert_allclose(y, [[3.0], [7.0]])
    assert layer.running_mean.data[0] == pytest.approx(0.25 * 2)
    assert layer.running_var.data[0] == pytest.approx(0.75 * 1 + 0.25 * 2)  # unbiased: 2, not 1
    evaluated = layer.forward(np.array([[0.5]]))
    np.testing.assert_allclose(evaluated, [[5.0]])


def test_batchnorm_adds_epsilon_to_the_variance():
    layer = BatchNorm(1, epsilon=3.0).initialize(0, np.float64)
    x = np.array([[-1.0], [1.0]])  # variance 1
    np.testing.assert_allclose(layer.forward(x, train=True), [[-0.5], [0.5]])
    layer.running_mean.data[...], layer.running_var.data[...] = 0.0, 1.0
    np.testing.assert_allclose(layer.forward(x), [[-0.5], [0.5]])


def test_batchnorm_evaluation_keeps_small_differences_at_a_large_mean():
    layer = BatchNorm(1, epsilon=1e-12).initialize(0)
    layer.running_mean.data[...], layer.running_var.data[...] = 1000.0, 1e-4
    x = np.array([[1000.0], [1000.015625]], np.float32)  # both exact in float32
    np.testing.assert_allclose(layer.forward(x), [[0.0], [1.5625]], rtol=1e-6)


def test_batchnorm_does_not_hide_an_overflow():
    layer = BatchNorm(1).initialize(0)
    with np.errstate(over="ignore", invalid="ignore"):
        y = layer.forward(np.array([[1e25], [-1e25], [0]], np.float32), train=True)
    assert np.isnan(y).all()
    np.testing.assert_array_equal(layer.running_mean.data, [0])
    np.testing.assert_array_equal(layer.running_var.data, [1])


def test_batchnorm_evaluation_does_not_depend_on_the_batch(rng):
    layer = BatchNorm(3).initialize(0)
    for _ in range(5):
        layer.forward(rng.standard_normal((10, 3)).astype(np.float32) * 3 + 1, train=True)
    x = rng.standard_normal((6, 3)).astype(np.float32)
    whole = layer.forward(x)
    parts = np.concatenate([layer.forward(x[:1]), layer.forward(x[1:])])
    np.testing.assert_allclose(whole, parts, rtol=1e-6)


def test_a_bad_batch_does_not_spoil_running_statistics(backend):
    layer = BatchNorm(2).initialize(0).to(backend)
    for bad in (np.nan, np.inf):
        x = np.array([[1, 2], [bad, 3]], np.float32)
        with np.errstate(invalid="ignore"):
            layer.forward(backend.asarray(x), train=True)
    np.testing.assert_array_equal(backend.to_host(layer.running_mean.data), [0, 0])
    np.testing.assert_array_equal(backend.to_host(layer.running_var.data), [1, 1])
