"""The C kernels, compiled for each instruction set that this machine has."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from minibnn.backend import CPU
from minibnn.backend.cpu import CompiledBackend, c_kernels, open_library

LIBRARY = open_library() if isinstance(CPU, CompiledBackend) else None
# As much of a backend as the implementations use, the smallest instruction set first.
SETS = (
    []
    if LIBRARY is None
    else [
        SimpleNamespace(c=c_kernels.Library(LIBRARY, name))
        for name in c_kernels.INSTRUCTION_SETS[: LIBRARY.minibnn_instruction_set() + 1]
    ]
)
each_set = pytest.mark.parametrize("backend", SETS, ids=lambda b: b.c.instruction_set)


def signs(rng, *shape):
    return np.where(rng.random(shape) < 0.5, np.float32(-1), np.float32(1))


def reals(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def same_on_each_set(implementation, *arguments):
    """What an implementation computes, which is the same to the last bit on each instruction set."""
    results = [implementation(backend, *arguments) for backend in SETS]
    for result in results:
        assert result is not NotImplemented
        np.testing.assert_array_equal(result.view(np.uint32), results[0].view(np.uint32))
    return results[0]


# Values that are not signs: some differ from one in a single bit.
NO_SIGNS = [0.0, -0.0, np.nan, np.inf, 0.5, -2.0, np.nextafter(np.float32(1), np.float32(2))]
