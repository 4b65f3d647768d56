"""Adam in C beside Adam in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from cases_of_operations import adam_scalars
from devices import built
from special_values import awkward

from minibnn.backend import CPU, NumpyBackend
from minibnn.optimizers.adam import adam

NUMPY = NumpyBackend()


@built
@pytest.mark.parametrize("size", [1, 15, 4097])
@pytest.mark.parametrize("bound", [None, 0.5])
def test_adam_in_c_equals_numpy_to_the_last_bit(size, bound, rng):
    ours = [awkward(rng, size) for _ in range(2)] + [np.zeros(size, np.float32) for _ in range(2)]
    theirs = [a.copy() for a in ours]
    with np.errstate(invalid="ignore"):
        for step in range(1, 8):
            given = *adam_scalars(0.01, step), 0.9, 0.999, bound
            CPU.run(adam, *ours, *given)
            NUMPY.run(adam, *theirs, *given)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
