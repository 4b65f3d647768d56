"""PReLU: values and gradients by hand."""

from __future__ import annotations

import numpy as np
import pytest
import strictdev
from devices import STRICT

from minibnn import Activation, Dense, Fill, PReLU, ReLU, Sequential, SignSTE

INF = float("inf")


def test_both_sides_and_zero(backend):
    """He et al. 2015, equation 1; at 0 the left side counts, as in equation 3."""
    layer = PReLU(3).initialize(0).to(backend)
    layer.slope.data[...] = backend.asarray(np.array([0.5, -2, 0], np.float32))
    x = backend.asarray(np.array([[-2, -1, -3], [4, 0, 0], [-6, 3, 1]], np.float32))
    y = layer.forward(x, train=True)
    np.testing.assert_array_equal(backend.to_host(y), [[-1, 2, 0], [4, 0, 0], [-3, 3, 1]])
    dy = backend.asarray(np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32))
    dx = layer.backward(dy)
    np.testing.assert_array_equal(backend.to_host(dx), [[0.5, -4, 0], [4, -10, 0], [3.5, 8, 9]])
    np.testing.assert_array_equal(backend.to_host(layer.slope.grad), [-2 - 42, -2, -9])


def test_it_starts_at_a_quarter_or_where_it_is_told():
    assert PReLU(3).initialize(0).slope.data.tolist() == [0.25] * 3
    layer = PReLU(2, slope_init=Fill(0.0)).initialize(0)
    x = np.array([[-1.5, 2.0], [3.0, -0.1]], np.float32)
    np.testing.assert_array_equal(layer.forward(x), ReLU().forward(x))
    assert repr(layer) == str(layer) == "PReLU(2)"


@pytest.mark.parametrize("slope", [0.25, 1e-3, 3.0])
def test_in_front_of_a_sign_it_does_nothing(slope, rng):
    """What `pack` says of it."""
    x = rng.standard_normal((50, 4)).astype(np.float32)
    x[0] = [0.0, -0.0, -1.0, 1.0]
    with_it = Sequential(PReLU(4, slope_init=Fill(slope)), Activation(SignSTE())).initialize(0)
    np.testing.assert_array_equal(with_it.forward(x), SignSTE().forward(x))


def test_nan_and_infinity_stay():
    layer = PReLU(1).initialize(0)
    y = layer.forward(np.array([[np.nan], [INF], [-INF]], np.float32), train=True)
    np.testing.assert_array_equal(y, [[np.nan], [INF], [-INF]])
    layer.backward(np.ones_like(y))
    assert np.isnan(layer.slope.grad).all()


def test_gradients_of_large_images_are_accurate(rng):
    layer = PReLU(2).initialize(0)
    x = -rng.uniform(0.5, 1.5, (100, 40, 40, 2)).astype(np.float32)
    layer.forward(x, train=True)
    layer.backward(np.ones_like(x), need_dx=False)
    np.testing.assert_allclose(layer.slope.grad, x.sum(axis=(0, 1, 2), dtype=np.float64), rtol=1e-6)


def test_it_learns_a_slope(rng):
    """y = |x| is PReLU with a slope of -1."""
    layer = PReLU(1).initialize(0)
    x = rng.standard_normal((200, 1)).astype(np.float32)
    for _ in range(60):
        error = layer.forward(x, train=True) - abs(x)
        layer.backward(error / len(x))
        layer.slope.data -= layer.slope.grad
    assert abs(layer.slope.data[0] + 1) < 1e-3


def test_a_step_reads_nothing_back():
    layer = PReLU(3).initialize(0).to(STRICT)
    x = STRICT.asarray(np.ones((2, 5, 5, 3), np.float32))
    with strictdev.no_sync():
        layer.backward(layer.forward(x, train=True) * 2)


def test_wrong_channels():
    with pytest.raises(TypeError, match="PReLU: expected channels of type int"):
        PReLU(2.0)
    with pytest.raises(ValueError, match=r"PReLU\(3\): expected x of shape"):
        PReLU(3).initialize(0).forward(np.zeros((2, 4), np.float32))
    with pytest.raises(RuntimeError, match=r"call model\.initialize"):
        Sequential(Dense(2, 3), PReLU(3))[1].forward(np.zeros((2, 3), np.float32))
