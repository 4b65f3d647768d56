"""Values at which fast code goes wrong."""

from __future__ import annotations

import numpy as np


def awkward(rng, shape):
    """Ordinary values, both zeros, infinities, nan, and numbers too small for full precision."""
    x = rng.standard_normal(shape).astype(np.float32)
    for value in (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1.0, -1.0):
        x[rng.random(shape) < 0.03] = value
    return x


def same_bits(got, expected):
    """Except that there is more than one nan."""
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(got), ~number)
    assert (got.view(np.uint32) == expected.view(np.uint32))[number].all()
