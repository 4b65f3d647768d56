"""x"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA, launched

from minibnn.random_stream import stream_keys, uniform

FLOATS = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform(dtype):
    for count, first in product(range(3), (0, 5, 2**32 - 1001)):
        k0, k1 = stream_keys(2**63 - 1, count)
        expected = uniform(np, (7, 143), k0, k1, first, dtype)
        for keys in (
            (k0, k1),
            (np.array(k0), np.array(k1)),
        ):  # as a plain step has them, or a replay
            u = HOST_CUDA.run(uniform, np, (7, 143), *keys, first, dtype)
            assert u.dtype == dtype
            np.testing.assert_array_equal(u, expected)
    launched(*["uniform"] * 18)
