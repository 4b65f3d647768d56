"""The CPU backend with some of its primitives in C (`kernels.c`), if they were built."""

from __future__ import annotations

import ctypes
import math
import os
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minibnn.backend.adam import AdamStep
from minibnn.backend.array import Array
from minibnn.backend.numpy_backend import NumpyBackend

SOURCE = os.path.join(os.path.dirname(__file__), "kernels.c")
LIBRARY = os.path.join(os.path.dirname(__file__), "_kernels.so")
FLOAT32 = np.dtype(np.float32)
# C's exponential takes one number at a time. For rows of 100 that costs more than NumPy's calls:
# 39 us against 21 for a batch of 100, and 6 against 9 for rows of 10.
FEW_CLASSES = 40


class CompiledBackend(NumpyBackend):
    """Arrays in main memory, float32 primitives in C; the rest is `NumpyBackend`'s.

    C reads where it is told to: each body checks shapes and layout, and leaves what it cannot take
    to NumPy's, which computes it or raises.

    Args:
        library: from `open_library`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._binarize = _declare(library.minibnn_binarize, 1, 2)
        self._rescale_bytes = _declare(library.minibnn_rescale_bytes, 1, 2, 2)
        self._column_dots = _declare(library.minibnn_column_dots, 2, 3)
        self._affine = _declare(library.minibnn_affine, 2, 6)
        self._standardize = _declare(library.minibnn_standardize, 3, 4, 1)
        self._log_softmax = _declare(library.minibnn_log_softmax, 2, 3)
        self._gate = _declare(library.minibnn_gate, 1, 3, 1)
        self._adam = _declare(library.minibnn_adam, 1, 4, 7)

    def binarize(self, x: Array) -> Array:
        """As the plain body, in one pass."""
        if not _plain(x) or x.ndim == 0:
            return super().binarize(x)
        y = np.empty(x.shape, np.float32)
        self._binarize(x.size, _at(x), _at(y))
        return y

    def rescale(self, x: Array, scale: float, offset: float, dtype: Any) -> Array:
        """As the plain body, in one pass; for bytes."""
        if x.dtype != np.uint8 or dtype != np.float32 or not x.flags.carray:
            return super().rescale(x, scale, offset, dtype)
        y = np.empty(x.shape, np.float32)
        self._rescale_bytes(x.size, _at(x), _at(y), scale, offset)
        return y

    def channel_dots(self, a: Array, b: Array, channels: int, out: Array | None = None) -> Array:
        """As the plain body, in one pass."""
        if not _plain(a, b) or a.ndim != 2 or a.shape != b.shape or not a.size:
            return super().channel_dots(a, b, channels, out)
        sums = np.empty(a.shape[1], np.float32)
        self._column_dots(*a.shape, _at(a), _at(b), _at(sums))
        return _over_places(sums, channels, out)

    def standardize(
        self, rows: Array, channels: int, epsilon: float
    ) -> tuple[Array, Array, Array, Array]:
        """As the plain body, in three passes."""
        if not _plain(rows) or rows.ndim != 2 or not rows.size or rows.shape[1] % channels:
            return super().standardize(rows, channels, epsilon)
        x = np.empty(rows.shape, np.float32)
        stats = np.empty((3, channels), np.float32)
        scratch = np.empty(rows.shape[1], np.float32)
        self._standardize(*rows.shape, channels, *map(_at, (rows, x, stats, scratch)), epsilon)
        return x, *stats

    def affine(self, shift: Array, *terms: tuple[Array, Array]) -> Array:
        """As the plain body, in one pass."""
        x = terms[0][1]
        arrays = [shift, *(a for term in terms for a in term)]
        shapes = [x.shape[1:], *([x.shape[1:], x.shape] * len(terms))]
        fits = len(terms) <= 2 and x.ndim == 2 and [a.shape for a in arrays] == shapes
        if not fits or not _plain(*arrays):
            return super().affine(shift, *terms)
        y = np.empty(x.shape, np.float32)
        other = [None, None] if len(terms) == 1 else []
        self._affine(*x.shape, *map(_at, arrays), *other, _at(y))
        return y

    def log_softmax(self, logits: Array) -> tuple[Array, Array]:
        """As the plain body, row by row."""
        if not _plain(logits) or logits.ndim != 2 or not 0 < logits.shape[1] <= FEW_CLASSES:
            return super().log_softmax(logits)
        logp, p = np.empty(logits.shape, np.float32), np.empty(logits.shape, np.float32)
        self._log_softmax(*logits.shape, _at(logits), _at(logp), _at(p))
        return logp, p

    def gate(self, dy: Array, x: Array, limit: float) -> Array:
        """As the plain body, in one pass."""
        if not _plain(dy, x) or dy.shape != x.shape or not isinstance(limit, float | int):
            return super().gate(dy, x, limit)
        dx = np.empty(x.shape, np.float32)
        self._gate(x.size, _at(dy), _at(x), _at(dx), limit)
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
        if not _plain(w, g, m, v) or not w.shape == g.shape == m.shape == v.shape:
            super().adam_step(w, g, m, v, numbers, only_if)
        elif only_if is None or only_if:
            rate, epsilon, beta1, beta2, bound = numbers
            bound = math.inf if bound is None else bound
            betas = beta1, 1 - beta1, beta2, 1 - beta2
            self._adam(w.size, *map(_at, (w, g, m, v)), *betas, rate, epsilon, bound)


def _declare(function: Any, lengths: int, pointers: int, floats: int = 0) -> Any:
    """Tell ctypes the arguments, which always come in this order."""
    kinds = (ctypes.c_ssize_t, lengths), (ctypes.c_void_p, pointers), (ctypes.c_float, floats)
    function.argtypes = [kind for kind, count in kinds for _ in range(count)]
    function.restype = None
    return function


def _plain(*arrays: Array) -> bool:
    """Whether the C bodies can take these: float32, row-major without gaps, aligned, writable."""
    for a in arrays:  # noqa: SIM110  # several times faster than all()
        if a.dtype != FLOAT32 or not a.flags.carray:
            return False
    return True


# What ctypes passes as the address of an array, in half the time of `a.ctypes.data`.
_at: Callable[[Array], Any] = (ctypes.c_char * 0).from_buffer


def _over_places(sums: Array, channels: int, out: Array | None) -> Array:
    """The second stage of `channel_sums`: of one sum for each column, over the places."""
    if sums.size != channels:
        return sums.reshape(-1, channels).sum(axis=0, out=out)
    if out is None:
        return sums
    out[...] = sums
    return out


def open_library() -> ctypes.CDLL | None:
    """The compiled primitives; None if they were not built, or not from today's `kernels.c`.

    The environment variable ``MINIBNN_COMPILED=0`` leaves them out. Nothing is loaded but what was
    built, byte for byte: a page that the file lacks would end the process.
    """
    if os.environ.get("MINIBNN_COMPILED") == "0" or not os.path.exists(LIBRARY):
        return None
    try:
        problem = "it is cut off or damaged"
        if _whole(LIBRARY):
            library = ctypes.CDLL(LIBRARY)
            problem = "it was built from another kernels.c"
            if library.minibnn_source() & 0xFFFFFFFF == zlib.crc32(_content(SOURCE)):
                return library
    except (OSError, AttributeError) as error:  # of another machine, say, or not a library
        problem = str(error)
    import logging

    logging.getLogger("minibnn").warning(
        'backend: %s is left out: %s; build it again, in the clone: pip install -e "."',
        os.path.basename(LIBRARY),
        problem,
    )
    return None


def _whole(library: str) -> bool:
    """Whether a library has the size and the checksum that its seal says.

    Raises:
        OSError: if one of the two cannot be read.
    """
    said = _content(os.path.splitext(library)[0] + ".seal", 100).split()
    if not os.path.isfile(library) or said[:1] != [b"%d" % os.path.getsize(library)]:
        return False
    return said[1:] == [b"%d" % zlib.crc32(_content(library))]


def _content(path: str, size: int = -1) -> bytes:
    """What a file has, or nothing for a pipe, a device or a folder, which may never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        return b""
    with open(path, "rb") as file:
        return file.read(size)
