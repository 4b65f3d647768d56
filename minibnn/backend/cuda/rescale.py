"""Rescaling of bytes on the GPU, in one kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import FLOATS
from minibnn.backend.implementations import CUDA


@CUDA.implements("rescale")
def rescale(backend: Any, x: Array, scale: float, offset: float, dtype: Any) -> Array:
    """For bytes to float32 and float64."""
    if x.dtype != np.uint8 or np.dtype(dtype) not in FLOATS:
        return NotImplemented
    x = backend.xp.ascontiguousarray(x)
    y = backend.xp.empty(x.shape, dtype)
    number = y.dtype.type
    arguments = (y, x, number(scale), number(offset))
    backend.kernels.each("rescale", "rescale", dtype, x.size, arguments)
    return y
