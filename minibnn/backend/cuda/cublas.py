"""Matrix products through cuBLAS, with a handle of our own.

CuPy refuses its handle while a stream captures (its `setStream` raises), although cuBLAS itself
can be captured. So the few functions that are needed are called here, through ctypes.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.device import Device

# cuBLAS splits some products into parts and adds them up in a workspace. 32 MiB is what NVIDIA
# advises for Hopper; with one of ours it allocates none, which a capture could not do.
WORKSPACE = 32 * 2**20

# From cublas_api.h and library_types.h.
DEFAULT_MATH = 0
DEFAULT_ALGORITHM = -1
NORMAL, TRANSPOSED = 0, 1
REAL_32, REAL_64, REAL_16 = 0, 1, 2
COMPUTE_32, COMPUTE_64, COMPUTE_32_AS_TF32 = 68, 70, 77

TYPES = {
    np.dtype(np.float16): REAL_16,
    np.dtype(np.float32): REAL_32,
    np.dtype(np.float64): REAL_64,
}


class Operand(NamedTuple):
    """A matrix as cuBLAS takes it, which reads columns where C writes rows."""

    address: int
    transposed: int
    leading: int


class Cublas:
    """Products of two matrices on one device and CuPy's current stream."""

    def __init__(self, cupy: ModuleType, device: Device) -> None:
        self._cupy = cupy
        self._device = device
        self._library = _load()
        self._library.cublasGemmEx.argtypes = [
            ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int,
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int,
            ctypes.c_void_p, ctypes.c_int, ctypes.c_int,
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int,
            ctypes.c_int, ctypes.c_int,
        ]  # fmt: skip
        self._library.cublasSetStream_v2.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self._library.cublasSetWorkspace_v2.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t,
        ]  # fmt: skip
        self._library.cublasSetMathMode.argtypes = [ctypes.c_void_p, ctypes.c_int]
        # None is ever destroyed: captured work holds on to its workspace.
        self._handles: dict[tuple[int, int], tuple[ctypes.c_void_p, Any]] = {}

    def multiply(self, a: Array, b: Array, out: Array, *, tf32: bool) -> None:
        """``out = a b``, of matrices in which either rows or columns are contiguous.

        Args:
            a: (n, k).
            b: (k, m), of a's dtype.
            out: (n, m), row by row; of the same dtype, or float32 for factors of float16.
            tf32: whether float32 factors may be rounded to 10 bits of mantissa, which is fast;
                `CupyBackend.tf32` decides.

        Raises:
            RuntimeError: for a status of cuBLAS other than success, or another current device.
            ValueError: for an array of another device.
        """
        (n, k), m = a.shape, b.shape[1]
        for array in (a, b, out):
            self._device.require_own(array)
        if out.size == 0:
            return
        if k == 0:
            out.fill(0)
            return
        kind, result = TYPES[a.dtype], TYPES[out.dtype]
        compute = COMPUTE_32_AS_TF32 if tf32 and kind == REAL_32 else COMPUTE_32
        compute = COMPUTE_64 if kind == REAL_64 else compute
        number = ctypes.c_double if kind == REAL_64 else ctypes.c_float
        one, zero = number(1), number(0)
        # By columns, out is its transpose, and that is the product of b's and a's, in this order.
        left, right = operand(b), operand(a)
        status = self._library.cublasGemmEx(
            self.handle(), left.transposed, right.transposed, m, n, k,
            ctypes.byref(one), left.address, kind, left.leading,
            right.address, kind, right.leading,
            ctypes.byref(zero), out.data.ptr, result, operand(out).leading,
            compute, DEFAULT_ALGORITHM,
        )  # fmt: skip
        _check("cublasGemmEx", status)

    def handle(self) -> ctypes.c_void_p:
        """The handle of this thread for the current stream, made at its first use.

        With one for each stream, and a workspace of its own, a product gives the same bits whatever
        runs beside it.
        """
        self._device.require_current()
        cuda = self._cupy.cuda
        stream = cuda.get_current_stream().ptr
        key = threading.get_ident(), stream
        if key not in self._handles:
            library, handle = self._library, ctypes.c_void_p()
            _check("cublasCreate", library.cublasCreate_v2(ctypes.byref(handle)))
            _check("cublasSetMathMode", library.cublasSetMathMode(handle, DEFAULT_MATH))
            _check("cublasSetStream", library.cublasSetStream_v2(handle, stream))
            workspace = cuda.alloc(WORKSPACE)
            # After the stream, which resets it.
            status = library.cublasSetWorkspace_v2(handle, workspace.ptr, WORKSPACE)
            _check("cublasSetWorkspace", status)
            self._handles[key] = handle, workspace
        return self._handles[key][0]


def operand(a: Array) -> Operand:
    """How cuBLAS reads a matrix: as it stands in memory, or transposed."""
    (rows, columns), (down, right), size = a.shape, a.strides, a.itemsize
    if (right == size or columns == 1) and (down >= columns * size or rows == 1):
        return Operand(a.data.ptr, NORMAL, down // size if rows > 1 else columns)
    return Operand(a.data.ptr, TRANSPOSED, right // size if columns > 1 else rows)


def fits(a: Array) -> bool:
    """Whether `operand` can say how a matrix stands in memory."""
    (rows, columns), (down, right), size = a.shape, a.strides, a.itemsize
    by_rows = (right == size or columns == 1) and (down >= columns * size or rows == 1)
    by_columns = (down == size or rows == 1) and (right >= rows * size or columns == 1)
    return bool(by_rows or by_columns)


def _load() -> Any:
    """The library: the one that CuPy's own packages bring, else the system's."""
    try:
        from cuda import pathfinder

        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)
    except Exception as error:  # pathfinder is missing, or finds nothing: each has its own errors
        windows = sys.platform == "win32"
        for version in (13, 12):
            try:
                return ctypes.CDLL(
                    f"cublas64_{version}.dll" if windows else f"libcublas.so.{version}"
                )
            except OSError:
                continue
        raise RuntimeError(f"found no cuBLAS: {error}") from error


def _check(name: str, status: int) -> None:
    if status:
        raise RuntimeError(f"{name} answered with status {status}")
