"""The backend of the CPU."""

from __future__ import annotations

import pytest

from minibnn.backend import CPU


def test_the_cpu_does_not_pull_arrays_from_a_gpu():
    class OnGpu:
        __cuda_array_interface__ = {}  # noqa: RUF012 (what CuPy's arrays have)

    with pytest.raises(TypeError, match="expected a host array, got one on the GPU"):
        CPU.asarray(OnGpu())
