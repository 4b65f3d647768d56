"""The softmax in C beside the reference."""

from __future__ import annotations

import numpy as np
import pytest
from devices import built

from minibnn.backend import CPU
from minibnn.losses.cross_entropy import log_softmax


@built
@pytest.mark.parametrize("shape", [(1, 1), (64, 10), (7, 40), (7, 41)])
def test_softmax_in_c_equals_numpys(shape, rng):
    """To a few roundings of the larger term: the exponential is another one."""
    x = (rng.standard_normal(shape) * 20).astype(np.float32)
    for got, expected in zip(CPU.run(log_softmax, x), log_softmax(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=3e-6, atol=1e-6)
    x = np.array([[1e4, 0], [np.inf, 0], [np.nan, 0], [0, np.nan], [-np.inf, 0]], np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        for got, expected in zip(CPU.run(log_softmax, x), log_softmax(x), strict=True):
            np.testing.assert_array_equal(got, expected)
