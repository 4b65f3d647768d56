"""The CPU: NumPy, and C kernels where they were built."""

from __future__ import annotations

import ctypes
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np

from minibnn.backend.array import Array, require_plain
from minibnn.backend.base import Backend, NotFinite
from minibnn.backend.cpu.library import Library, at, fits
from minibnn.backend.implementations import COMPILED, NUMPY, Implementations

# C's exponential takes one number at a time. For rows of 100 that costs more than NumPy's calls:
# 39 us against 21 for a batch of 100, and 6 against 9 for rows of 10.
FEW_CLASSES = 40
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

    def binarize(self, x: Array) -> Array:
        """As the plain body; float32 by its sign bit, several times faster."""
        if x.dtype != np.float32 or x.ndim == 0:
            return super().binarize(x)
        # x + 0.0 turns -0.0 into +0.0, after which the sign bit alone decides.
        y = np.add(x, np.float32(0))
        bits = y.view(np.uint32)
        bits &= np.uint32(0x80000000)
        bits |= np.uint32(0x3F800000)  # the bits of 1.0
        if x.size and np.isnan(x.min()):  # one cheap pass, instead of two over a mask
            y[np.isnan(x)] = np.nan
        return y

    def update(self, allowed: Array | None = None) -> AbstractContextManager[None]:
        """Nothing to be kept: `masked_write` finds out at once."""
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
        for _, new in pairs:
            if not self.all_finite(new):
                raise NotFinite(new)
        for old, new in pairs:
            old[...] = new


class CompiledBackend(NumpyBackend):
    """Arrays in main memory, float32 primitives in C; the rest is `NumpyBackend`'s.

    C reads where it is told to: each body checks shapes and layout, and leaves what it cannot take
    to NumPy's, which computes it or raises.

    Args:
        library: from `open_library`.
    """

    tables = (COMPILED, NUMPY)

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__()
        self.c = Library(library)

    def binarize(self, x: Array) -> Array:
        """As the plain body, in one pass."""
        if not fits(x) or x.ndim == 0:
            return super().binarize(x)
        y = np.empty(x.shape, np.float32)
        self.c.binarize(x.size, at(x), at(y))
        return y

    def log_softmax(self, logits: Array) -> tuple[Array, Array]:
        """As the plain body, row by row."""
        if not fits(logits) or logits.ndim != 2 or not 0 < logits.shape[1] <= FEW_CLASSES:
            return super().log_softmax(logits)
        logp, p = np.empty(logits.shape, np.float32), np.empty(logits.shape, np.float32)
        self.c.log_softmax(*logits.shape, at(logits), at(logp), at(p))
        return logp, p

    def gate(self, dy: Array, x: Array, limit: float) -> Array:
        """As the plain body, in one pass."""
        if not fits(dy, x) or dy.shape != x.shape or not isinstance(limit, float | int):
            return super().gate(dy, x, limit)
        dx = np.empty(x.shape, np.float32)
        self.c.gate(x.size, at(dy), at(x), at(dx), limit)
        return dx
