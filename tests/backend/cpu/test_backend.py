"""The backend of the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.backend import CPU, NotFinite
from minibnn.backend.cpu.backend import NumpyBackend


def test_the_cpu_does_not_pull_arrays_from_a_gpu():
    class OnGpu:
        __cuda_array_interface__ = {}  # noqa: RUF012 (what CuPy's arrays have)

    with pytest.raises(TypeError, match="expected a host array, got one on the GPU"):
        CPU.asarray(OnGpu())


def test_numpy_alone_writes_all_or_nothing():
    numpy, a, b = NumpyBackend(), np.zeros(2), np.zeros(2)
    with pytest.raises(NotFinite):
        numpy.masked_write((a, a + 1), (b, b + np.nan))
    assert (a.tolist(), b.tolist()) == ([0, 0], [0, 0])
    numpy.masked_write((a, a + 1), (b, b + 2))
    assert (a.tolist(), b.tolist()) == ([1, 1], [2, 2])
