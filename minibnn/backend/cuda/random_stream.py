"""Random numbers on the GPU, in one kernel."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import FLOATS, is_number, number
from minibnn.backend.implementations import CUDA


@CUDA.implements("uniform")
def uniform(
    backend: Any, xp: ModuleType, shape: tuple[int, ...], k0: Any, k1: Any, first: int, dtype: Any
) -> Array:
    """For float32 and float64."""
    if np.dtype(dtype) not in FLOATS or not all(is_number(k, np.uint32) for k in (k0, k1)):
        return NotImplemented
    if not 0 <= first <= 2**32 - math.prod(shape):
        return NotImplemented
    u = xp.empty(shape, dtype)
    arguments = (u, *number(k0, np.uint32), *number(k1, np.uint32), np.uint32(first))
    backend.kernels.each("random_stream", "uniform", dtype, u.size, arguments)
    return u
