"""The backend of the CPU, with NumPy alone; `compiled.py` has the one with C kernels."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np

from minibnn.backend.array import Array, require_plain
from minibnn.backend.base import Backend
from minibnn.backend.errors import NotFinite, wrong_shapes
from minibnn.backend.implementations import NUMPY, Implementations

NOTHING = nullcontext()
# glibc returns large freed blocks to the system, and each new page costs a page fault: 7.7 of
# 38.7 ms in a training step of a small convolutional network (batches of 100, one core). After a
# block of this size was allocated and freed once, its malloc keeps freed memory. No page of this
# block is touched. Other systems' malloc is not affected.
np.empty(31 * 2**20, np.uint8)


class NumpyBackend(Backend):
    """Arrays in main memory."""

    name = "cpu"
    xp = np
    array_type = np.ndarray
    host = True
    tables: ClassVar[tuple[Implementations, ...]] = (NUMPY,)
    matmul: Any = staticmethod(np.matmul)

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """`a` as a NumPy array. Arrays of a device are refused: that would be a transfer."""
        if not isinstance(a, np.ndarray) and hasattr(a, "__cuda_array_interface__"):
            raise TypeError(
                "asarray on the CPU: expected a host array, got one on the GPU; "
                "transfer it on purpose with backend_of(a).to_host(a)"
            )
        require_plain(a)
        return np.asarray(a, dtype=dtype)

    def to_host(self, a: Array) -> np.ndarray[Any, Any]:
        """`a` itself."""
        return np.asarray(a)

    def update(self, allowed: Array | None = None) -> AbstractContextManager[None]:
        """A context without a flag: `masked_write` checks at once."""
        if allowed is None:
            return NOTHING
        if not (type(allowed) is np.ndarray and allowed.dtype == bool and not allowed.ndim):
            super().update(allowed)  # raises if it is not a flag
        if not allowed:
            raise ValueError(
                "update on the CPU: expected allowed to be True, got False; call all_finite, and "
                "skip the update if it returns False"
            )
        return NOTHING

    def all_finite(self, a: Array) -> bool:
        """By the dot product of the array with itself, on the BLAS.

        If it is finite, so is every value. If not, it may have overflowed, and each value is
        checked.
        """
        if not getattr(a, "ndim", 0):
            return math.isfinite(a)
        if a.flags.c_contiguous:
            flat = a.reshape(-1)
            with np.errstate(over="ignore"):
                square = np.dot(flat, flat)
            if math.isfinite(square):
                return True
        return bool(np.isfinite(a).all())

    def masked_write(self, *pairs: tuple[Array, Array]) -> None:
        """Without a flag: write everything, or raise."""
        if any(old.shape != new.shape for old, new in pairs):
            raise wrong_shapes(pairs)
        with np.errstate(over="ignore"):  # in the dtype of `old`
            written = [np.asarray(b, a.dtype) if a.dtype.kind == "f" else b for a, b in pairs]
        for new in written:
            if not self.all_finite(new):
                raise NotFinite(new)
        for old, new in pairs:
            old[...] = new
