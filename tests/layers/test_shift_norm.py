"""ShiftBatchNorm by hand, and beside BatchNorm."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    BatchNorm,
    PowerOfTwo,
    ShiftBatchNorm,
)

COLUMN = np.array([[-5.0], [-1.0], [2.0], [4.0]])


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
