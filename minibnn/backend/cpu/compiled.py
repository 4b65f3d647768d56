"""The backend of the CPU with C kernels."""

from __future__ import annotations

import ctypes

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cpu.backend import NumpyBackend
from minibnn.backend.cpu.c_kernels import Library, at, fits
from minibnn.backend.cpu.products import product
from minibnn.backend.implementations import COMPILED, NUMPY


class CompiledBackend(NumpyBackend):
    """Arrays in main memory, with some float32 operations in C; the rest is `NumpyBackend`'s.

    Products of signs are computed on their bits (`products.py`), other products by the BLAS.

    C code does not check its arguments. Each implementation checks shapes and layout, and declines
    what C cannot take; then NumPy's implementation or the reference computes or raises.

    Args:
        library: from `open_library`.
    """

    tables = (COMPILED, NUMPY)

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__()
        self.c = Library(library)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, products={self.c.instruction_set!r})"

    def all_finite(self, a: Array) -> bool:
        """In one pass."""
        if isinstance(a, np.ndarray) and a.ndim and fits(a):
            return bool(self.c.all_finite(a.size, at(a)))
        return super().all_finite(a)

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """The matrix product ``a @ b``, on bits if an operand is signs and the product is large."""
        return product(self.c, a, b, out)
