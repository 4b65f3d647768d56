"""Rescaling of bytes on the CPU, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cpu.c_kernels import at
from minibnn.backend.implementations import COMPILED


@COMPILED.implements("rescale")
def rescale(backend: Any, x: Array, scale: float, offset: float, dtype: Any) -> Array:
    """From bytes to float32."""
    if x.dtype != np.uint8 or dtype != np.float32 or not x.flags.carray:
        return NotImplemented
    y = np.empty(x.shape, np.float32)
    backend.c.rescale_bytes(x.size, at(x), at(y), scale, offset)
    return y
