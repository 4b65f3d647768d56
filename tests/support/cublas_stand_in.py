"""cuBLAS without cuBLAS: what multiplies as its manual says."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np

from minibnn.backend.cuda import cublas

TYPES = {cublas.REAL_16: np.float16, cublas.REAL_32: np.float32, cublas.REAL_64: np.float64}


class OnDevice:
    """A NumPy array with the attributes of CuPy's that the wrapper looks at."""

    def __init__(self, a):
        self.a = a
        self.data = SimpleNamespace(ptr=a.ctypes.data, device_id=0)

    def __getattr__(self, name):
        return getattr(self.a, name)


class Library:
    """The functions of cuBLAS that minibnn calls, and what was called."""

    def __init__(self):
        self.calls = []
        self.computes = []
        for name in ("Create_v2", "SetStream_v2", "SetWorkspace_v2", "SetMathMode"):
            setattr(self, f"cublas{name}", self._named(name))
        self.cublasGemmEx = lambda *arguments: self.multiply(*arguments)

    def _named(self, name):
        def call(*arguments):
            self.calls.append((name, *arguments[1:]))
            return 0

        return call

    def multiply(self, handle, ta, tb, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, compute, algorithm):  # fmt: skip
        if min(m, n, k) < 1 or lda < (k if ta else m) or ldb < (n if tb else k) or ldc < m:
            return 7  # CUBLAS_STATUS_INVALID_VALUE
        assert a_type == b_type
        self.computes.append(compute)
        A = self.columns(a, a_type, *((k, m) if ta else (m, k)), lda)
        B = self.columns(b, b_type, *((n, k) if tb else (k, n)), ldb)
        C = self.columns(c, c_type, m, n, ldc)
        kind = np.float64 if c_type == cublas.REAL_64 else np.float32
        A, B = (x.astype(kind).T if t else x.astype(kind) for x, t in ((A, ta), (B, tb)))
        C[...] = alpha._obj.value * (A @ B)
        assert beta._obj.value == 0
        return 0

    @staticmethod
    def columns(address, kind, rows, columns, leading):
        """A column-major matrix, whose columns begin `leading` numbers apart."""
        dtype = np.dtype(TYPES[kind])
        size = ((columns - 1) * leading + rows) * dtype.itemsize
        memory = np.frombuffer((ctypes.c_char * size).from_address(address), dtype)
        strides = (dtype.itemsize, leading * dtype.itemsize)
        return np.lib.stride_tricks.as_strided(memory, (rows, columns), strides)
