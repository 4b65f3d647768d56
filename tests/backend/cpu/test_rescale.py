"""x"""

from __future__ import annotations

import numpy as np
import pytest
from devices import built

from minibnn.backend import CPU, NumpyBackend
from minibnn.layers.reshape import rescale

NUMPY = NumpyBackend()


@built
@pytest.mark.parametrize(("scale", "offset"), [(1 / 255, 0.0), (2 / 255, -1.0), (-0.5, 3.0)])
def test_pixels_in_c_equal_numpy_to_the_last_bit(scale, offset):
    x = np.arange(256, dtype=np.uint8).reshape(4, 64)
    for a in (x, x[:, ::2], x.astype(np.int8), x[:0]):
        got = CPU.run(rescale, a, scale, offset, np.dtype(np.float32))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, NUMPY.run(rescale, a, scale, offset, np.float32))
    wide = CPU.run(rescale, x, scale, offset, np.dtype(np.float64))
    np.testing.assert_array_equal(wide, x * scale + offset)
