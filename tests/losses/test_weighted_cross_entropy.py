"""Weighted cross-entropy by hand; tests/losses/test_weights.py compares it with repeated samples."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.losses.weighted_cross_entropy import (
    weighted_cross_entropy,
    weighted_cross_entropy_gradient,
)

P = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])


@pytest.mark.parametrize("rows", [False, True])
def test_by_hand(rows, backend):
    labels = np.array([0, 2])
    given = np.eye(3)[labels] if rows else labels
    p, t, w = (backend.asarray(a) for a in (P, given, np.array([3.0, 1.0])))
    loss = weighted_cross_entropy(backend.asarray(np.log(P)), t, 0.0, w)
    expected = -(3 * np.log(0.5) + np.log(0.125)) / 4
    assert backend.to_host(loss) == pytest.approx(expected, rel=1e-14)
    gradient = backend.to_host(weighted_cross_entropy_gradient(p, t, 0.0, w))
    by_hand = [[-0.375, 0.1875, 0.1875], [0.03125, 0.1875, -0.21875]]
    np.testing.assert_array_equal(gradient, by_hand)


def test_with_smoothing(backend):
    """t is 0.8 at the label and 0.1 elsewhere."""
    p, t, w = (backend.asarray(a) for a in (P, np.array([0, 2]), np.array([0.0, 2.0])))
    loss = weighted_cross_entropy(backend.asarray(np.log(P)), t, 0.3, w)
    expected = -(0.8 * np.log(0.125) + 0.1 * np.log(0.125) + 0.1 * np.log(0.75))
    assert backend.to_host(loss) == pytest.approx(expected, rel=1e-14)
    gradient = backend.to_host(weighted_cross_entropy_gradient(p, t, 0.3, w))
    np.testing.assert_allclose(gradient, [[0, 0, 0], [0.025, 0.65, -0.675]], rtol=1e-14)
