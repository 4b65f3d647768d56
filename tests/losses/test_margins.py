"""Hinges and the squared error by hand; a TargetLoss of a user's own."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import LABELS, LOGITS

from minibnn import (
    Hinge,
    MeanSquaredError,
    Sequential,
    SquaredHinge,
    check_gradients,
)
from minibnn.losses import TargetLoss


# The table behind the next test: labels 2 and 1, so t is -1 -1 +1 and -1 +1 -1.
#   y       1     2     3  |  0.5  -0.5   0
#   t y    -1    -2     3  | -0.5  -0.5   0
#   1-t y   2     3    -2  |  1.5   1.5   1    positive part: 2 3 0, 1.5 1.5 1
#   y - p   1     2     2  |  0.5  -1.5   0
@pytest.mark.parametrize(
    ("loss", "total", "gradient"),
    [
        (Hinge(), 9.0, [[1, 1, 0], [1, -1, 1]]),
        # 4 + 9 + 2.25 + 2.25 + 1
        (SquaredHinge(), 18.5, [[4, 6, 0], [3, -3, 2]]),
        # 1 + 4 + 4 + 0.25 + 2.25
        (MeanSquaredError(), 11.5, [[2, 4, 4], [1, -3, 0]]),
    ],
    ids=lambda v: repr(v) if hasattr(v, "forward") else "",
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_margins_by_hand(loss, total, gradient, dtype, backend):
    value = loss.forward(backend.asarray(LOGITS.astype(dtype)), backend.asarray(LABELS))
    assert (value.dtype, value.shape) == (dtype, ())
    assert float(backend.to_host(value)) == pytest.approx(total / 6, rel=1e-6)
    got = backend.to_host(loss.backward())
    np.testing.assert_allclose(got, np.array(gradient) / 6, rtol=1e-6)
    assert got.dtype == dtype


def test_targets_of_probabilities_by_hand():
    y, p = np.array([[1.0, 3.0]]), np.array([[0.25, 0.75]])
    # t = 2 p - 1: -0.5, 0.5; t y: -0.5, 1.5; the margin is missed by 1.5, and not
    for loss, value, slope in ((Hinge(), 1.5, 0.5), (SquaredHinge(), 2.25, 1.5)):
        assert float(loss.forward(y, p)) == value / 2
        np.testing.assert_array_equal(loss.backward(), [[slope / 2, 0]])
    mse = MeanSquaredError()
    assert float(mse.forward(y, p)) == (0.75**2 + 2.25**2) / 2
    np.testing.assert_array_equal(mse.backward(), [[0.75, 2.25]])


def test_hinge_at_the_edge_has_no_slope():
    for loss in (Hinge(), SquaredHinge()):
        assert loss.forward(np.array([[1.0, -1.0]]), np.array([0])) == 0
        np.testing.assert_array_equal(loss.backward(), [[0, 0]])


class LogCosh(TargetLoss):
    """A user's loss: the loss of each output, and its derivative."""

    def each(self, y, p):
        return np.log(np.cosh(y - p)), np.tanh(y - p)


def test_a_loss_of_each_output_is_two_lines(rng):
    labels = rng.integers(0, 4, 6)
    report = check_gradients(
        Sequential(), rng.standard_normal((6, 4)), loss=LogCosh(), labels=labels
    )
    assert report, str(report)
    value = LogCosh().forward(np.zeros((1, 2)), np.array([1]))
    assert value == pytest.approx(np.log(np.cosh(1)) / 2)
