"""The GPU: CuPy. Imported only when a GPU is asked for."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import math
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np

from minibnn.backend.base import AdamStep, Array, Backend, DeviceError
from minibnn.backend.hashing import places, stream_keys

# Each of these texts is C++ for one element: one launch does what the plain body does in several.
# `alive` is false to leave everything as it is.
ADAM_INPUTS = "T g, T rate, T beta1, T beta2, T epsilon, T bound, bool alive"
ADAM_OUTPUTS = "T w, T m, T v"
ADAM_BODY = """
if (alive) {
    m = beta1 * m + g;
    v = beta2 * v + g * g;
    w = w - rate * m / (sqrt(v) + epsilon);
    w = w > bound ? bound : (w < -bound ? -bound : w);
}
"""
SIGN_BODY = "y = x >= T(0) ? T(1) : (x < T(0) ? T(-1) : x)"
# CuPy compiles with -ftz=true, for which a denormal float32 equals zero. Bits are exact.
SIGN_FLOAT32_BODY = """
unsigned int bits = __float_as_uint(x);
unsigned int size = bits & 0x7fffffffu;
unsigned int sign = size == 0u ? 0u : bits & 0x80000000u;
y = size > 0x7f800000u ? x : __uint_as_float(0x3f800000u | sign);
"""
# The plain body's arithmetic, place by place; T is the dtype of the result.
UNIFORM_BODY = """
unsigned int h = (unsigned int)i + k0;
for (int round = 0; round < 2; ++round) {
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    h ^= h >> 16;
    if (round == 0) h ^= k1;
}
u = T(h >> 8) * T(5.9604644775390625e-8);
"""


class CupyBackend(Backend):
    """Arrays in the memory of a CUDA device."""

    name = "gpu"
    host = False

    def __init__(self, cupy: ModuleType) -> None:
        self.xp = cupy
        self.array_type = cupy.ndarray
        kernel = cupy.ElementwiseKernel
        self._adam = kernel(ADAM_INPUTS, ADAM_OUTPUTS, ADAM_BODY, "minibnn_adam")
        self._sign = kernel("T x", "T y", SIGN_BODY, "minibnn_sign")
        self._sign_float32 = kernel(
            "float32 x", "float32 y", SIGN_FLOAT32_BODY, "minibnn_sign_float32"
        )
        self._uniform = kernel("uint32 k0, uint32 k1", "T u", UNIFORM_BODY, "minibnn_uniform")

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """`a` on the device; a host array is copied there."""
        return self.xp.asarray(a, dtype=dtype)

    def to_host(self, a: Array) -> np.ndarray[Any, Any]:
        """`a` copied to the host, after waiting for it."""
        host: np.ndarray[Any, Any] = self.xp.asnumpy(a)
        return host

    def binarize(self, x: Array) -> Array:
        """As the plain body, in one kernel."""
        return self._sign_float32(x) if x.dtype == np.float32 else self._sign(x)

    def uniform(self, shape: tuple[int, ...], seed: int, count: int, dtype: Any) -> Array:
        """As the plain body, in one kernel."""
        places(shape)
        return self._uniform(*stream_keys(seed, count), self.xp.empty(shape, dtype=dtype))

    def adam_step(
        self,
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        numbers: AdamStep,
        only_if: Array | None = None,
    ) -> None:
        """As the plain body, in one kernel."""
        rate, epsilon = numbers.folded()
        bound = math.inf if numbers.bound is None else numbers.bound
        alive = True if only_if is None else only_if
        self._adam(g, rate, numbers.beta1, numbers.beta2, epsilon, bound, alive, w, m, v)


def open_gpu() -> CupyBackend:
    """The GPU backend, after proving that it works.

    Raises:
        DeviceError: if CuPy cannot be imported, finds no device, cannot compile and run
            a kernel, or cannot multiply two matrices.
    """
    stage = "import CuPy"
    cupy: Any = None
    try:
        with warnings.catch_warnings():  # a warning is no failure, also where it is made an error
            warnings.simplefilter("default")
            cupy = importlib.import_module("cupy")
        stage = "find a CUDA device"
        # Unlike cupy.is_available(), this raises with the driver's own reason.
        if cupy.cuda.runtime.getDeviceCount() == 0:
            raise RuntimeError("there is none")
        stage = "compile and run a kernel"
        backend = CupyBackend(cupy)
        ones = cupy.ones((2, 2), dtype=np.float32)
        if float(backend.binarize(-ones).sum()) != -4.0:
            raise RuntimeError("the signs of four negative numbers do not sum to -4")
        stage = "multiply matrices"
        if float(backend.matmul(ones, ones)[0, 0]) != 2.0:
            raise RuntimeError("a 2x2 product of ones is not 2")
    # A broken CUDA installation raises nearly anything (OSError, ImportError, CuPy's own
    # compile and runtime errors), and each of them means the same here: no GPU.
    except Exception as error:
        raise _explain(stage, error, cupy) from error
    return backend


def _explain(stage: str, error: Exception, cupy: Any) -> DeviceError:
    driver = _driver_cuda_version()
    installed = next((extra for extra in ("cuda12", "cuda13") if _is_installed(extra)), None)
    too_old = driver is not None and driver < (13, 0)  # newer drivers run both builds
    extra = "cuda12" if too_old else installed or "cuda13"
    mend = f'pip install -e ".[{extra}]"'
    if installed not in (None, extra):  # two builds of CuPy in one environment break each other
        mend = f"pip uninstall cupy-{installed}x, then {mend}"
    mend = f"in the checkout: {mend}"
    if driver is None:
        mend = f"install an NVIDIA driver, then, {mend}"
    seen = "no NVIDIA driver" if driver is None else f"a driver for CUDA {driver[0]}.{driver[1]}"
    version = "not installed" if cupy is None else cupy.__version__
    reason = f"failed to {stage}: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
        reason = f"failed to {stage}, which is not installed"
    return DeviceError(
        f'device "gpu" is unavailable: {reason}\n'
        f"  found: CuPy {version}; {seen}\n"
        f'  mend:  {mend}; or use device "cpu"',
        reason,
    )


def _is_installed(extra: str) -> bool:
    """Whether the CuPy build that an extra names is there, working or not."""
    try:
        importlib.metadata.distribution(f"cupy-{extra}x")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _driver_cuda_version() -> tuple[int, int] | None:
    """The newest CUDA version that the installed driver supports, or None without a driver."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        version = ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(version)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return version.value // 1000, version.value % 1000 // 10
