"""x"""

from __future__ import annotations

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA, launched

from minibnn.layers.reshape import rescale

FLOATS = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("offset", [0.0, -1.0])
def test_rescale(offset, dtype, rng):
    x = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    got = HOST_CUDA.run(rescale, x, 2 / 255, offset, dtype)
    launched("rescale")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, rescale(x, 2 / 255, offset, dtype))
