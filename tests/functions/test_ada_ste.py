"""AdaSTE against its rule, case by case."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minibnn import (
    AdaSTE,
)

# Both zeros, the thresholds of the ternary one, the clip edges, values beyond them.
X = [-3, -1.5, -1, -0.5, -0.05, -0.0, 0.0, 0.04, 0.05, 0.5, 1, 1.5, 3]

SIGN = [-1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1]


def slow_adaste(x: float, dy: float) -> float:
    """The rule, one number at a time."""
    if x <= -1 and dy >= 0:
        return 0.0
    if x >= 1 and dy <= 0:
        return 0.0
    if x <= -1 or x >= 1:
        return dy * 2 / (1 + abs(x))
    return dy


def test_adaste_in_every_case(backend):
    x, dy = (a.ravel() for a in np.meshgrid(X, [-2.0, -1e-300, -0.0, 0.0, 1e-300, 3.0]))
    got = backend.to_host(AdaSTE().backward(backend.asarray(dy), backend.asarray(x)))
    np.testing.assert_allclose(got, [slow_adaste(*pair) for pair in zip(x, dy, strict=True)])
    np.testing.assert_array_equal(AdaSTE().forward(np.array(X)), SIGN)
    # Only blocked gradients, and those of dy = 0, are 0.
    assert np.count_nonzero(got) == 13 * 4 - 6 * 2


finite = st.floats(-1e6, 1e6)


@given(finite, finite)
def test_adaste_is_the_slow_rule(x, dy):
    got = AdaSTE().backward(np.array([dy]), np.array([x]))
    np.testing.assert_allclose(got, slow_adaste(x, dy), rtol=1e-12)


@given(finite, finite)
def test_adaste_never_leads_away_from_the_middle(x, dy):
    dx = AdaSTE().backward(np.array([dy]), np.array([x]))[0]
    if abs(x) >= 1:
        assert abs(x - 1e-7 * dx) <= abs(x)
