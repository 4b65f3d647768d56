"""Compiling and launching the kernels of the ``.cu`` files beside this one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.device import Device

FOLDER = Path(__file__).parent
FILES = (
    "accuracy", "adam", "batch_norm", "captured_step", "convolution", "cross_entropy", "finite",
    "packed_bits", "pooling", "random_stream", "rescale", "signs",
)  # fmt: skip
SHARED = {  # files that come before a file
    "accuracy": ("labels",),
    "convolution": ("windows",),
    "cross_entropy": ("labels",),
    "pooling": ("windows",),
}
FLOATS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
C_NAMES = FLOATS | {np.dtype(np.uint8): "unsigned char", np.dtype(np.int32): "int"}
# No fused multiply-adds: kernels round where the references round, so the sign of a sum of floats
# is the same on every device. Nearly all kernels are limited by memory, not by arithmetic.
OPTIONS = ("-std=c++17", "-fmad=false")
THREADS = 256  # in a block, by default
MOST_BLOCKS = 65535


def source(file: str, dtype: Any) -> str:
    """The source of a file for one type of numbers, as it goes to the compiler."""
    names = ("common", *SHARED.get(file, ()), file)
    texts = (Path(FOLDER, f"{name}.cu").read_text() for name in names)
    return "\n".join([f"typedef {C_NAMES[np.dtype(dtype)]} T;", *texts])


class Kernels:
    """The kernels, by file and name. A file is compiled when its first kernel is launched.

    CuPy compiles with NVRTC and caches the result on disk, so each machine compiles once.
    """

    def __init__(self, cupy: ModuleType, device: Device) -> None:
        self._cupy = cupy
        self._device = device
        self._functions: dict[tuple[str, str, np.dtype[Any]], Any] = {}

    def launch(
        self,
        file: str,
        name: str,
        dtype: Any,
        arguments: tuple[Any, ...],
        *,
        blocks: int | tuple[int, ...],
        threads: int | tuple[int, ...] = THREADS,
    ) -> None:
        """Run a kernel, on the current stream.

        Args:
            file: its name without the suffix.
            name: the kernel's name.
            dtype: the kernel's T: float32 or float64; in some files also uint8 or int32.
            arguments: contiguous device arrays, None for a null pointer, and NumPy scalars of
                exactly the types that the kernel declares.
            blocks: the size of the grid.
            threads: the size of a block.

        Raises:
            RuntimeError: if another device is current.
            ValueError: for an array of another device.
        """
        self._device.require_current()
        for argument in arguments:
            if isinstance(argument, self._cupy.ndarray):  # CuPy does not check this
                self._device.require_own(argument)
        key = file, name, np.dtype(dtype)
        function = self._functions.get(key)
        if function is None:
            module = self._cupy.RawModule(code=source(file, dtype), options=OPTIONS)
            function = self._functions[key] = module.get_function(name)
        function(_three(blocks), _three(threads), tuple(map(pointer, arguments)))

    def each(self, file: str, name: str, dtype: Any, n: int, arguments: tuple[Any, ...]) -> None:
        """Run a kernel that loops with EACH over n elements; its last parameter is n."""
        if n:
            self.launch(file, name, dtype, (*arguments, np.int64(n)), blocks=blocks_for(n))


def blocks_for(n: int) -> int:
    """The blocks for a loop with EACH over n elements: a thread for each, up to a limit."""
    return max(1, min(-(-n // THREADS), MOST_BLOCKS))


def floats(*arrays: Array) -> bool:
    """Whether all arrays are float32, or all float64, which then is T."""
    kind = arrays[0].dtype
    return kind in FLOATS and all(a.dtype == kind for a in arrays)


def number(value: Any, dtype: Any) -> tuple[Array | None, np.generic]:
    """A number as two arguments of a kernel: its array on the device or None, and its value."""
    scalar = np.dtype(dtype).type
    known = isinstance(value, int | float | np.generic)
    return (None, scalar(value)) if known else (value, scalar(0))


def is_number(value: Any, dtype: Any) -> bool:
    """Whether `number` can take it: a Python or NumPy number, or a 0-d array of this dtype."""
    if isinstance(value, int | float | np.generic):
        return True
    return are_scalars(dtype, value)


def are_scalars(dtype: Any, *arrays: Any) -> bool:
    """Whether these are 0-d arrays of this dtype, whose addresses a kernel can read."""
    kind = np.dtype(dtype), ()
    return all((getattr(a, "dtype", None), getattr(a, "shape", None)) == kind for a in arrays)


def pointer(argument: Array | np.generic | None) -> Any:
    """An argument as CuPy takes it: a null pointer for None, everything else unchanged."""
    return np.uintp(0) if argument is None else argument


def _three(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else size
