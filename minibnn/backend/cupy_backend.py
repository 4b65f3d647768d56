"""The GPU: CuPy. Imported only when a GPU is asked for."""

from __future__ import annotations

import ctypes
import importlib
import math
import sys
from types import ModuleType
from typing import Any

import numpy as np

from minibnn.backend.base import AdamStep, Array, Backend, DeviceError

# One launch does what the plain body does in a dozen. The text is C++ for one element; `alive`
# is 0 to leave everything as it is.
ADAM_PARAMETERS = (
    "T g, T rate, T beta1, T beta2, T epsilon, T bound, bool alive",
    "T w, T m, T v",
)
ADAM_BODY = """
if (alive) {
    m = beta1 * m + (T(1) - beta1) * g;
    v = beta2 * v + (T(1) - beta2) * g * g;
    w = w - rate * m / (sqrt(v) + epsilon);
    w = w > bound ? bound : (w < -bound ? -bound : w);
}
"""


class CupyBackend(Backend):
    """Arrays in the memory of a CUDA device."""

    name = "gpu"
    host = False

    def __init__(self, cupy: ModuleType) -> None:
        self.xp = cupy
        self.array_type = cupy.ndarray
        self._adam_kernel = cupy.ElementwiseKernel(*ADAM_PARAMETERS, ADAM_BODY, "minibnn_adam")

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """`a` on the device; a host array is copied there."""
        return self.xp.asarray(a, dtype=dtype)

    def to_host(self, a: Array) -> np.ndarray[Any, Any]:
        """`a` copied to the host, after waiting for it."""
        host: np.ndarray[Any, Any] = self.xp.asnumpy(a)
        return host

    def synchronize(self) -> None:
        """Wait for the current stream."""
        self.xp.cuda.get_current_stream().synchronize()

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
        self._adam_kernel(g, rate, numbers.beta1, numbers.beta2, epsilon, bound, alive, w, m, v)


def open_gpu() -> CupyBackend:
    """The GPU backend, after proving that it works.

    Raises:
        DeviceError: if CuPy cannot be imported, finds no device, cannot compile and run
            a kernel, or cannot multiply two matrices.
    """
    stage = "import CuPy"
    cupy: Any = None
    try:
        cupy = importlib.import_module("cupy")

        stage = "find a CUDA device"
        if not cupy.is_available():
            raise RuntimeError("CuPy sees no CUDA device")
        stage = "compile and run a kernel"
        backend = CupyBackend(cupy)
        ones = cupy.ones((2, 2), dtype=np.float32)
        if float((ones + ones).sum()) != 8.0:
            raise RuntimeError("a sum of eight ones is not 8")
        stage = "multiply matrices"
        if float(backend.matmul(ones, ones)[0, 0]) != 2.0:
            raise RuntimeError("a 2x2 product of ones is not 2")
    # A broken CUDA installation raises nearly anything (OSError, ImportError, CuPy's own
    # compile and runtime errors), and each of them means the same here: no GPU.
    except Exception as error:
        raise DeviceError(_explain(stage, error, cupy)) from error
    return backend


def _explain(stage: str, error: Exception, cupy: Any) -> str:
    version = "not installed" if cupy is None else getattr(cupy, "__version__", "unknown")
    driver = _driver_cuda_version()
    extra = "cuda12" if driver is not None and driver < (13, 0) else "cuda13"
    if driver is None:
        mend = f'install an NVIDIA driver, then: pip install "minibnn[{extra}]"'
        seen = "no NVIDIA driver found"
    else:
        mend = f'pip install "minibnn[{extra}]"'
        seen = f"driver supports CUDA {driver[0]}.{driver[1]}"
    return (
        f'device "gpu" is unavailable: failed to {stage}: {type(error).__name__}: {error}\n'
        f"  found: CuPy {version}; {seen}\n"
        f'  mend:  {mend} (in a checkout: pip install -e ".[{extra}]"), or use device "cpu"'
    )


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
