"""The CPU: NumPy, and C kernels where they were built."""

from __future__ import annotations

import ctypes
import math
from typing import Any, ClassVar

import numpy as np

from minibnn.backend.adam import AdamStep
from minibnn.backend.array import Array, require_plain
from minibnn.backend.base import Backend
from minibnn.backend.bits import WORD, words_of
from minibnn.backend.cpu.library import Library, at, fits
from minibnn.backend.implementations import COMPILED, NUMPY, Implementations

# C's exponential takes one number at a time. For rows of 100 that costs more than NumPy's calls:
# 39 us against 21 for a batch of 100, and 6 against 9 for rows of 10.
FEW_CLASSES = 40
# Floats per block of the optimiser step: four streams and a scratch row, which the ten passes over
# them should find in a core's second-level cache. Two cores with AVX-512 and 1 MiB of it took, for
# 109,386 parameters, 106 us with 24,576, 95 us with 65,536 and as much with one block; for
# 3,000,000 parameters 4.4 ms with 16,384, 3.8 ms with 65,536 and 5.2 ms with one block.
ADAM_BLOCK = 65536

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

    def pack_rows(self, bits: Array) -> Array:
        """Without a copy in bytes, of which a row of one bit would take 64."""
        octets = np.packbits(bits, axis=1, bitorder="little")
        words = np.zeros((len(bits), words_of(bits.shape[1]) * WORD // 8), np.uint8)
        words[:, : octets.shape[1]] = octets
        return words.view("<u8").astype(np.uint64, copy=False)

    def unpack_rows(self, words: Array, width: int) -> Array:
        """Without unpacking the bits beyond the width."""
        octets = np.ascontiguousarray(words.astype("<u8", copy=False)).view(np.uint8)
        there = min(width, 8 * octets.shape[1])  # beyond, NumPy would make up zeros
        return np.unpackbits(octets, axis=1, count=there, bitorder="little")

    def note_finite(self, all_finite: Array, a: Array) -> None:
        """By the dot product of a flat array with itself, on the BLAS.

        If that is finite, so is every value. If not, it may be an overflow.
        """
        if a.flags.c_contiguous:
            with np.errstate(over="ignore"):
                square = np.dot(a.reshape(-1), a.reshape(-1))
            if math.isfinite(square):
                return
        super().note_finite(all_finite, a)

    def adam_step(
        self,
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        numbers: AdamStep,
        only_if: Array | None = None,
    ) -> None:
        """As the plain body, block by block while a block is in cache, without temporaries."""
        if only_if is not None and not only_if:
            return
        rate, epsilon, beta1, beta2, bound = numbers
        scratch = np.empty(min(ADAM_BLOCK, w.size), w.dtype)
        for start in range(0, w.size, ADAM_BLOCK):
            block = slice(start, start + ADAM_BLOCK)
            wb, gb, mb, vb = w[block], g[block], m[block], v[block]
            a = scratch[: wb.size]
            np.multiply(gb, 1 - beta1, out=a)
            mb *= beta1
            mb += a
            np.multiply(gb, gb, out=a)
            a *= 1 - beta2
            vb *= beta2
            vb += a
            np.sqrt(vb, out=a)
            a += epsilon
            np.divide(mb, a, out=a)
            a *= rate
            wb -= a
            if bound is not None:
                np.clip(wb, -bound, bound, out=wb)


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

    def adam_step(
        self,
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        numbers: AdamStep,
        only_if: Array | None = None,
    ) -> None:
        """As the plain body, in one pass."""
        if not fits(w, g, m, v) or not w.shape == g.shape == m.shape == v.shape:
            super().adam_step(w, g, m, v, numbers, only_if)
        elif only_if is None or only_if:
            rate, epsilon, beta1, beta2, bound = numbers
            bound = math.inf if bound is None else bound
            betas = beta1, 1 - beta1, beta2, 1 - beta2
            self.c.adam(w.size, *map(at, (w, g, m, v)), *betas, rate, epsilon, bound)
