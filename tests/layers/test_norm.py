"""Normalisations: values by hand, accurate sums, and powers of two."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import BatchNorm, PowerOfTwo, ShiftBatchNorm, TensorNorm

COLUMN = np.array([[-5.0], [-1.0], [2.0], [4.0]])


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
        # 3e-6 of the largest: a mean of 3 with float32's digits, seen at a spread of 1.
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


# --- Powers of two ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_of_two(dtype, backend):
    x = np.array(
        [0.0, -0.0, 1, -1, 1.4, -1.4, 1.5, 3, -3, 0.7, 0.75, 1000, np.inf, -np.inf, np.nan]
    )
    y = [0.0, -0.0, 1, -1, 1, -1, 2, 4, -4, 0.5, 1, 1024, np.inf, -np.inf, np.nan]
    got = backend.to_host(PowerOfTwo().forward(backend.asarray(x.astype(dtype))))
    np.testing.assert_array_equal(got, np.array(y, dtype), strict=True)
    np.testing.assert_array_equal(np.signbit(got[:2]), [False, True])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_of_two_round_logarithms(dtype, rng):
    x = (rng.choice([-1, 1], 100_000) * np.exp(8 * rng.standard_normal(100_000))).astype(dtype)
    nearest = np.copysign(2.0 ** np.rint(np.log2(abs(x.astype(np.float64)))), x)
    np.testing.assert_array_equal(PowerOfTwo().forward(x), nearest)


def test_powers_of_two_at_the_edge():
    """The largest float below the square root of 2 rounds down, the next one up."""
    for dtype, below in ((np.float32, 0x3FB504F3), (np.float64, 0x3FF6A09E667F3BCC)):
        word = np.uint32 if dtype == np.float32 else np.uint64
        edge = np.array([below, below + 1], word).view(dtype)
        assert int(edge[0].as_integer_ratio()[0]) ** 2 < 2 * edge[0].as_integer_ratio()[1] ** 2
        assert int(edge[1].as_integer_ratio()[0]) ** 2 > 2 * edge[1].as_integer_ratio()[1] ** 2
        np.testing.assert_array_equal(PowerOfTwo().forward(edge), [1, 2])


# --- ShiftBatchNorm ---------------------------------------------------------------------------


def test_shift_batchnorm_by_hand():
    layer = ShiftBatchNorm(1, epsilon=1e-12).initialize(0, np.float64)
    layer.gamma.data[...], layer.beta.data[...] = 3.0, 10.0
    # AP2(c) = -4, -1, 2, 4; var = (20 + 1 + 4 + 16) / 4 = 10.25; r = 0.312, AP2(r) = 1/4;
    # AP2(gamma) = 4.
    np.testing.assert_array_equal(layer.forward(COLUMN + 7, train=True), COLUMN + 10)
    assert layer.running_mean.data[0] == pytest.approx(7 / 8)
    assert layer.running_var.data[0] == pytest.approx(7 / 8 + 10.25 / 8)

    dx = layer.backward(np.array([[1.0], [0.0], [0.0], [0.0]]))
    assert layer.beta.grad[0] == 1
    assert layer.gamma.grad[0] == -5 / 4
    dvar = 20 / 2 / 10.25**1.5  # dr = 4 (-5)
    dc = [1 + dvar / 4 * -9, dvar / 4 * -2, dvar / 4 * 4, dvar / 4 * 8]
    # 1e-10: the layer adds epsilon, and the sum over dc cancels digits.
    np.testing.assert_allclose(dx[:, 0], np.array(dc) - np.mean(dc), rtol=1e-10)

    # Evaluation: running variance 2.156, r = 0.681, AP2(r) = 1/2.
    np.testing.assert_allclose(layer.forward(COLUMN + 7 / 8), 2 * COLUMN + 10, rtol=1e-12)


def test_shift_batchnorm_multiplies_by_powers_of_two_only(rng):
    layer = ShiftBatchNorm(3).initialize(0, np.float64)
    layer.gamma.data[...] = [0.3, -1.7, 5.0]
    x = rng.standard_normal((8, 3)) * [0.1, 1, 30]
    factor = layer.forward(x, train=True) / (x - x.mean(axis=0))
    np.testing.assert_allclose(factor, np.broadcast_to(PowerOfTwo().forward(factor[0]), (8, 3)))


def test_shift_batchnorm_is_near_batchnorm(rng):
    x = rng.standard_normal((1000, 2))
    shifted, plain = (n(2).initialize(0, np.float64) for n in (ShiftBatchNorm, BatchNorm))
    ratio = shifted.forward(x, train=True) / plain.forward(x, train=True)
    # r errs by sqrt(sqrt(2)) at most, each rounding by sqrt(2).
    assert ratio.min() >= 2**-0.75
    assert ratio.max() <= 2**0.75


def test_shift_batchnorm_does_not_hide_an_overflow():
    layer = ShiftBatchNorm(1).initialize(0)
    with np.errstate(over="ignore", invalid="ignore"):
        y = layer.forward(np.array([[1e25], [-1e25], [0]], np.float32), train=True)
    assert np.isnan(y).all()
    np.testing.assert_array_equal(layer.running_var.data, [1])


@pytest.mark.parametrize("kind", [BatchNorm, ShiftBatchNorm])
def test_bad_construction_says_who(kind):
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: expected momentum in \[0, 1\)"):
        kind(3, momentum=1.0)
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: expected a positive epsilon"):
        kind(3, epsilon=0)
