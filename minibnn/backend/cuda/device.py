"""The one GPU that a backend belongs to, what it can do, and what helps if it cannot be had."""

from __future__ import annotations

from types import ModuleType

from minibnn.backend.array import Array

COMPILED_BY_CUDA_13 = (7, 5)  # and later; CUDA 12 compiles for older ones
WITH_TF32 = (8, 0)

# Errors of CUDA, its driver and cuBLAS, by what helps. Without memory for its handle, cuBLAS may
# also say that it is not initialized; status 3 is that of `cublas.py`.
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

    Arrays, streams, handles and compiled kernels of CUDA belong to one GPU. A backend has those of
    one, and refuses what is elsewhere.

    Attributes:
        number: as CUDA counts them in this process.
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
        """Whether its products can round float32 to TF32; else `CupyBackend.tf32` stays False."""
        return self.capability >= WITH_TF32

    def require_current(self) -> None:
        """Raise RuntimeError if another GPU is current on this thread: work would go there."""
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


def passing_hint(error: BaseException) -> str | None:
    """What to do about an error that says that the GPU is full or taken; None for another one.

    Such an error passes, so nobody may remember it as the answer for ever.
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
    """A version as people write it."""
    return f"{version[0]}.{version[1]}"
