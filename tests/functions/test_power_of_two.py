"""PowerOfTwo: values, rounding and edges."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    PowerOfTwo,
)

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
