"""The GPU that a backend belongs to, its capabilities, and hints if it is full or in use."""

from __future__ import annotations

import os
from types import ModuleType

from minibnn.backend.array import Array
from minibnn.backend.errors import DeviceError

COMPILED_BY_CUDA_13 = (7, 5)  # and later; CUDA 12 also compiles for older GPUs
WITH_TF32 = (8, 0)

# Errors of CUDA, its driver and cuBLAS, grouped by their hint. Without memory for a handle, cuBLAS
# may also report that it is not initialized; `cublas.py` reports status 3.
NO_MEMORY = (
    "cudaErrorMemoryAllocation",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "OutOfMemoryError",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "cublasCreate answered with status 3",
)
TAKEN = (
    "cudaErrorDevicesUnavailable",
    "CUDA_ERROR_DEVICE_UNAVAILABLE",
    "cudaErrorDeviceAlreadyInUse",
)


class Device:
    """The GPU that is current on this thread when the object is made.

    Arrays, streams, handles and compiled kernels belong to one GPU. A backend uses one GPU, and
    refuses arrays of another.

    Attributes:
        number: CUDA's number for it in this process.
        capability: its compute capability, such as (9, 0).
    """

    def __init__(self, cupy: ModuleType) -> None:
        runtime = cupy.cuda.runtime
        self._current = runtime.getDevice
        self.number: int = runtime.getDevice()
        properties = runtime.getDeviceProperties(self.number)
        self.capability: tuple[int, int] = properties["major"], properties["minor"]

    @property
    def has_tf32(self) -> bool:
        """Whether it can multiply in TF32; if not, `CupyBackend.tf32` stays False."""
        return self.capability >= WITH_TF32

    def require_current(self) -> None:
        """Raise RuntimeError if another GPU is current on this thread: work would run there."""
        current = self._current()
        if current != self.number:
            raise RuntimeError(
                f"minibnn: expected GPU {self.number} to be current on this thread, as when it was "
                f"opened, got GPU {current}; work inside cupy.cuda.Device({self.number})"
            )

    def require_own(self, a: Array) -> None:
        """Raise ValueError for a CuPy array of another GPU."""
        there = a.data.device_id
        if there != self.number:
            raise ValueError(
                f"minibnn: expected arrays on GPU {self.number}, which it was opened on, got one "
                f"on GPU {there}; copy it inside cupy.cuda.Device({self.number}) with "
                "cupy.asarray(a)"
            )


def gpu_of(cupy: ModuleType, number: int, processes: int) -> int:
    """CUDA's number for the GPU of one process, of several on this machine.

    What CUDA_VISIBLE_DEVICES leaves is divided. If it leaves one GPU, each process has that: the
    launcher has given each its own, or the user wants them to share it.

    Args:
        cupy: the module.
        number: of the process among those on this machine, from 0.
        processes: how many there are.

    Raises:
        DeviceError: if there are fewer GPUs than processes; in all processes alike.
    """
    count = cupy.cuda.runtime.getDeviceCount()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if count == 1 and visible is not None:
        return 0
    if processes > count:
        seen = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible})"
        reason = (
            f"expected a GPU for each of {processes} processes on this machine, got {count}{seen}"
        )
        hint = (
            f"start at most {count} on a machine, or set CUDA_VISIBLE_DEVICES to one GPU in each "
            "process, if the launcher gives each its own, or all are to share one"
        )
        raise DeviceError(
            f'device "gpu" is unavailable: {reason}\n  hint:  {hint}; or use device "cpu"', reason
        )
    return number


def kind_of_gpu(cupy: ModuleType) -> dict[str, str]:
    """What decides the last bits of the current GPU's results, as texts by name."""
    runtime = cupy.cuda.runtime
    return {
        "the kind of GPU": runtime.getDeviceProperties(runtime.getDevice())["name"].decode(),
        "the version of CuPy": cupy.__version__,
        "the version of CUDA": str(runtime.runtimeGetVersion()),
    }


def passing_hint(error: BaseException) -> str | None:
    """The hint for an error because the GPU is full or in use; None for other errors.

    Such an error may pass, so it must not be cached.
    """
    text = f"{type(error).__name__}: {error}"
    if any(name in text for name in NO_MEMORY):
        return (
            "free memory on the GPU (nvidia-smi says who has it), or choose another GPU with "
            "CUDA_VISIBLE_DEVICES"
        )
    if any(name in text for name in TAKEN):
        return (
            "another process has the GPU to itself (nvidia-smi says which): wait for its end, or "
            "choose another GPU with CUDA_VISIBLE_DEVICES"
        )
    return None


def version_words(version: tuple[int, int]) -> str:
    """A version as text, such as "12.4"."""
    return f"{version[0]}.{version[1]}"
