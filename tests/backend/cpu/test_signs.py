"""x"""

from __future__ import annotations

import numpy as np
import pytest
from devices import built
from special_values import awkward, same_bits

from minibnn.backend import CPU, NumpyBackend
from minibnn.functions.signs import binary_sign, straight_through_gradient

NUMPY = NumpyBackend()


SHAPES = [(1, 1), (3, 7), (64, 10), (65, 1024), (130, 1025), (2, 3000), (5, 0)]


@built
@pytest.mark.parametrize("shape", SHAPES)
def test_c_equals_numpy_to_the_last_bit(shape, rng):
    x, dy = awkward(rng, shape), awkward(rng, shape)
    with np.errstate(invalid="ignore"):
        for got, expected in (
            (CPU.run(binary_sign, x), NUMPY.run(binary_sign, x)),
            (
                CPU.run(straight_through_gradient, dy, x, 1.0),
                NUMPY.run(straight_through_gradient, dy, x, 1.0),
            ),
        ):
            assert got.dtype == np.float32
            assert got.shape == shape
            same_bits(got, expected)
