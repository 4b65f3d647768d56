"""Matrix products by cuBLAS, with a handle of our own.

CuPy does not give its handle to a capturing stream (its `setStream` raises), although cuBLAS can be
captured. So this module calls the few functions that it needs through ctypes.
"""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.device import Device
from minibnn.backend.cuda.threads import thread_number

# cuBLAS splits some products into parts and adds these in a workspace. NVIDIA advises 32 MiB for
# Hopper. If we provide one, cuBLAS allocates none, which would fail in a capture.
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
    """A matrix as cuBLAS takes it: cuBLAS is column-major, our arrays are row-major."""

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
        # Handles are never destroyed: captured work uses their workspaces.
        self._handles: dict[tuple[int, int], tuple[ctypes.c_void_p, Any]] = {}

    def multiply(self, a: Array, b: Array, out: Array, *, tf32: bool) -> None:
        """``out = a b``, for matrices whose rows or columns are contiguous.

        Args:
            a: (n, k).
            b: (k, m), of a's dtype.
            out: (n, m), row-major; of the same dtype, or float32 for float16 factors.
            tf32: whether float32 factors may be rounded to 10 bits of mantissa, which is
                faster; `CupyBackend.tf32` decides.

        Raises:
            RuntimeError: if cuBLAS reports an error, or another device is current.
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
        # In column-major order these are transposes, and out^T = b^T a^T.
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
        """The handle of this thread for the current stream, created at its first use.

        Each stream has a handle and a workspace of its own, so a product gives the same bits
        whatever else is running.
        """
        self._device.require_current()
        cuda = self._cupy.cuda
        stream = cuda.get_current_stream().ptr
        key = thread_number(), stream
        if key not in self._handles:
            library, handle = self._library, ctypes.c_void_p()
            _check("cublasCreate", library.cublasCreate_v2(ctypes.byref(handle)))
            _check("cublasSetMathMode", library.cublasSetMathMode(handle, DEFAULT_MATH))
            _check("cublasSetStream", library.cublasSetStream_v2(handle, stream))
            workspace = cuda.alloc(WORKSPACE)
            # After cublasSetStream, which resets the workspace.
            status = library.cublasSetWorkspace_v2(handle, workspace.ptr, WORKSPACE)
            _check("cublasSetWorkspace", status)
            self._handles[key] = handle, workspace
        return self._handles[key][0]


def operand(a: Array) -> Operand:
    """How cuBLAS has to read a matrix: as it is in memory, or transposed."""
    (rows, columns), (down, right), size = a.shape, a.strides, a.itemsize
    if (right == size or columns == 1) and (down >= columns * size or rows == 1):
        return Operand(a.data.ptr, NORMAL, down // size if rows > 1 else columns)
    return Operand(a.data.ptr, TRANSPOSED, right // size if columns > 1 else rows)


def fits(a: Array) -> bool:
    """Whether `operand` can describe a matrix."""
    (rows, columns), (down, right), size = a.shape, a.strides, a.itemsize
    by_rows = (right == size or columns == 1) and (down >= columns * size or rows == 1)
    by_columns = (down == size or rows == 1) and (right >= rows * size or columns == 1)
    return bool(by_rows or by_columns)


def _load() -> Any:
    """The library from CuPy's packages, or else the system's."""
    try:
        from cuda import pathfinder

        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)
    except Exception as error:  # pathfinder is missing, or raises one of its own errors
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
