"""The CPU backend with some of its primitives in C (`kernels.c`), if they were built."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import zlib
from pathlib import Path

import numpy as np

from minibnn.backend.base import AdamStep, Array
from minibnn.backend.numpy_backend import NumpyBackend

SOURCE = Path(__file__).with_name("kernels.c")
LIBRARY = Path(__file__).with_name("_kernels.so")

_POINTER, _LENGTH, _FLOAT = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_float


class CompiledBackend(NumpyBackend):
    """Arrays in main memory, float32 primitives in C; the rest is `NumpyBackend`'s.

    Args:
        library: from `open_library`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._binarize = library.minibnn_binarize
        self._binarize.argtypes = (_LENGTH, _POINTER, _POINTER)
        self._binarize.restype = None
        self._adam = library.minibnn_adam
        self._adam.argtypes = (_LENGTH, *4 * (_POINTER,), *5 * (_FLOAT,))
        self._adam.restype = None

    def binarize(self, x: Array) -> Array:
        """As the plain body, in one pass."""
        if x.dtype != np.float32 or not x.flags.c_contiguous or x.ndim == 0:
            return super().binarize(x)
        y = np.empty(x.shape, np.float32)
        self._binarize(x.size, x.ctypes.data, y.ctypes.data)
        return y

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
        if any(a.dtype != np.float32 or not a.flags.c_contiguous for a in (w, g, m, v)):
            super().adam_step(w, g, m, v, numbers, only_if)
        elif only_if is None or only_if:
            addresses = [a.ctypes.data for a in (w, g, m, v)]
            bound = math.inf if numbers.bound is None else numbers.bound
            self._adam(w.size, *addresses, numbers.beta1, numbers.beta2, *numbers.folded(), bound)


def open_library() -> ctypes.CDLL | None:
    """The compiled primitives; None if they were not built, or not from today's `kernels.c`.

    The environment variable ``MINIBNN_COMPILED=0`` leaves them out.
    """
    if os.environ.get("MINIBNN_COMPILED") == "0" or not LIBRARY.exists():
        return None
    library = ctypes.CDLL(str(LIBRARY))
    if library.minibnn_source() & 0xFFFFFFFF != zlib.crc32(SOURCE.read_bytes()):
        logging.getLogger("minibnn").warning(
            "backend: %s was built from another kernels.c and is left out; "
            'build it again: pip install -e "."',
            LIBRARY.name,
        )
        return None
    return library
