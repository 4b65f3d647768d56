"""The CPU: NumPy, and C kernels where they were built."""

from __future__ import annotations

import ctypes
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np

from minibnn.backend.array import Array, require_plain
from minibnn.backend.base import Backend
from minibnn.backend.cpu.c_kernels import Library
from minibnn.backend.errors import NotFinite
from minibnn.backend.implementations import COMPILED, NUMPY, Implementations

NOTHING = nullcontext()
# glibc gives large freed blocks back to the system, and each new page costs a fault: of a training
# step of a small convolutional network (batches of 100, one core) that was 7.7 of 38.7 ms. Its
# malloc keeps what is freed after it has once seen a block of this size come and go; no page of
# this one is touched. Other systems' malloc takes no notice.
np.empty(31 * 2**20, np.uint8)


class NumpyBackend(Backend):
    """Arrays in main memory."""

    name = "cpu"
    xp = np
    array_type = np.ndarray
    host = True
    tables: ClassVar[tuple[Implementations, ...]] = (NUMPY,)
    matmul = staticmethod(np.matmul)  # type: ignore[assignment]  # whose `out` is keyword-only

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """`a` as a NumPy array; an array of a device is refused, since that is a transfer."""
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
        """Nothing to be kept: `masked_write` finds out at once."""
        if allowed is not None:
            super().update(allowed)  # which refuses what is no flag
        if allowed is not None and not allowed:
            raise ValueError(
                "update on the CPU: expected allowed to be True, got False; ask all_finite, and "
                "make no update where it says no"
            )
        return NOTHING

    def all_finite(self, a: Array) -> bool:
        """By the dot product of an array with itself, on the BLAS.

        If that is finite, so is every value. If not, it may be an overflow.
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
        """All of it, or an error."""
        with np.errstate(over="ignore"):  # in the dtype of `old`
            written = [np.asarray(b, a.dtype) if a.dtype.kind == "f" else b for a, b in pairs]
        for new in written:
            if not self.all_finite(new):
                raise NotFinite(new)
        for old, new in pairs:
            old[...] = new


class CompiledBackend(NumpyBackend):
    """Arrays in main memory, some operations on float32 in C; the rest is `NumpyBackend`'s.

    C reads where it is told to: each implementation checks shapes and layout, and declines what it
    cannot take; then NumPy's or the reference computes it or raises.

    Args:
        library: from `open_library`.
    """

    tables = (COMPILED, NUMPY)

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__()
        self.c = Library(library)
