"""Opening the GPU, and explaining why it cannot be used."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import sys
import warnings
from typing import Any

import numpy as np

from minibnn.backend.cuda.backend import CupyBackend
from minibnn.backend.cuda.device import (
    COMPILED_BY_CUDA_13,
    Device,
    gpu_of,
    passing_hint,
    version_words,
)
from minibnn.backend.cuda.signs import binary_sign
from minibnn.backend.cuda.threads import use
from minibnn.backend.errors import DeviceError
from minibnn.backend.gpus import share


def open_gpu() -> CupyBackend:
    """The backend of this process's GPU, after a test that it works.

    That is the current GPU; or, if several processes divide them, its own, which becomes current.

    Raises:
        DeviceError: if CuPy cannot be imported, finds no device, cannot compile and run
            a kernel, or cannot multiply two matrices; if there are fewer GPUs than processes.
    """
    stage = "import CuPy"
    cupy: Any = None
    device: Device | None = None
    try:
        with warnings.catch_warnings():  # a warning is not a failure, even under "error" filters
            warnings.simplefilter("default")
            cupy = importlib.import_module("cupy")
        stage = "find a CUDA device"
        # Unlike cupy.is_available(), this raises with the driver's own reason.
        if cupy.cuda.runtime.getDeviceCount() == 0:
            raise RuntimeError("there is none")
        if share.place is not None:
            # Not by setting CUDA_VISIBLE_DEVICES: an MPI that takes GPU arrays has read it before.
            use(cupy, gpu_of(cupy, *share.place))
        device = Device(cupy)
        stage = "compile and run a kernel"
        _require_compiler(cupy, device)
        backend = CupyBackend(cupy, device)
        ones = cupy.ones((2, 2), dtype=np.float32)
        if float(binary_sign(backend, -ones).sum()) != -4.0:
            raise RuntimeError("the signs of four negative numbers do not sum to -4")
        stage = "multiply matrices"
        if float(backend.matmul(ones, ones)[0, 0]) != 2.0:
            raise RuntimeError("a 2x2 product of ones is not 2")
        backend.prove_graphs()
    except DeviceError:
        raise
    # A broken CUDA installation raises many kinds of errors (OSError, ImportError, CuPy's own
    # compile and runtime errors). Each of them means that there is no GPU.
    except Exception as error:
        raise _explain(stage, error, cupy, device) from error
    share.require_place = backend.require_place
    return backend


def _require_compiler(cupy: Any, device: Device) -> None:
    """Raise RuntimeError for a GPU that this version of CUDA cannot compile for."""
    nvrtc = cupy.cuda.nvrtc.getVersion()
    if nvrtc >= (13, 0) and device.capability < COMPILED_BY_CUDA_13:
        raise RuntimeError(
            f"CUDA {version_words(nvrtc)} compiles for GPUs from compute capability "
            f"{version_words(COMPILED_BY_CUDA_13)} on, and this one has "
            f"{version_words(device.capability)}"
        )


def _explain(stage: str, error: Exception, cupy: Any, device: Device | None) -> DeviceError:
    driver = _driver_cuda_version()
    hint = passing_hint(error)
    passing = hint is not None
    if hint is None:
        hint = _installing_hint(driver, device)
    seen = "no NVIDIA driver" if driver is None else f"a driver for CUDA {version_words(driver)}"
    if device is not None:
        seen += f", a GPU of compute capability {version_words(device.capability)}"
    version = "not installed" if cupy is None else cupy.__version__
    reason = f"failed to {stage}: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
        reason = f"failed to {stage}, which is not installed"
    return DeviceError(
        f'device "gpu" is unavailable: {reason}\n'
        f"  found: CuPy {version}; {seen}\n"
        f'  hint:  {hint}; or use device "cpu"',
        reason,
        passing=passing,
    )


def _installing_hint(driver: tuple[int, int] | None, device: Device | None) -> str:
    """How to install the build of CuPy that the driver and the GPU need."""
    installed = next((extra for extra in ("cuda12", "cuda13") if _is_installed(extra)), None)
    # Newer drivers can run both builds, but CUDA 13 cannot compile for older GPUs.
    too_old = driver is not None and driver < (13, 0)
    too_old = too_old or (device is not None and device.capability < COMPILED_BY_CUDA_13)
    extra = "cuda12" if too_old else installed or "cuda13"
    hint = f'pip install -e ".[{extra}]"'
    if installed not in (None, extra):  # two builds of CuPy in one environment break each other
        hint = f"pip uninstall cupy-{installed}x, then {hint}"
    hint = f"in the checkout: {hint}"
    return f"install an NVIDIA driver, then, {hint}" if driver is None else hint


def _is_installed(extra: str) -> bool:
    """Whether the CuPy build of an extra is installed, working or not."""
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
