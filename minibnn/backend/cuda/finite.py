"""Whether values are finite, on the GPU: in one kernel, without waiting for the result."""

from __future__ import annotations

from typing import Any

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import floats
from minibnn.backend.implementations import CUDA


@CUDA.implements("note_finite")
def note_finite(backend: Any, allowed: Array, a: Array) -> Any:
    """For contiguous floats."""
    if not floats(a) or not a.flags.c_contiguous:
        return NotImplemented
    backend.kernels.each("finite", "note_finite", a.dtype, a.size, (allowed, a))
    return None
