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
SHARED = {  # files to stand before a file
    "accuracy": ("labels",),
    "convolution": ("windows",),
    "cross_entropy": ("labels",),
    "pooling": ("windows",),
}
FLOATS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
C_NAMES = FLOATS | {np.dtype(np.uint8): "unsigned char", np.dtype(np.int32): "int"}
# No fused multiply-adds: the kernels round what the references round, so a sign behind a sum of
# floats is the same on every device. Nearly all kernels wait for memory, not for arithmetic.
OPTIONS = ("-std=c++17", "-fmad=false")
THREADS = 256  # in a block, where nothing else is said
MOST_BLOCKS = 65535


def source(file: str, dtype: Any) -> str:
    """The text of a file for one type of numbers, as the compiler gets it."""
    names = ("common", *SHARED.get(file, ()), file)
    texts = (Path(FOLDER, f"{name}.cu").read_text() for name in names)
    return "\n".join([f"typedef {C_NAMES[np.dtype(dtype)]} T;", *texts])


class Kernels:
    """The kernels, by file and name. A file is compiled when its first kernel is asked for.

    CuPy compiles with NVRTC and keeps what it made on disk, so it is done once on a machine.
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
            file: without its ending.
            name: of the kernel.
            dtype: the kernel's T: float32 or float64; in some files also uint8 or int32.
            arguments: device arrays, contiguous, or None for a null pointer; everything else as a
                NumPy scalar of exactly the type that the kernel declares.
            blocks: in the grid.
            threads: in a block.

        Raises:
            RuntimeError: if another device is current.
            ValueError: for an array of another device.
        """
        self._device.require_current()
        for argument in arguments:
            if isinstance(argument, self._cupy.ndarray):  # CuPy itself would pass any address
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
    """So many blocks that a loop with EACH over n elements has a thread for each, within limits."""
    return max(1, min(-(-n // THREADS), MOST_BLOCKS))


def floats(*arrays: Array) -> bool:
    """Whether these arrays are all float32, or all float64: then T can be that type."""
    kind = arrays[0].dtype
    return kind in FLOATS and all(a.dtype == kind for a in arrays)


def number(value: Any, dtype: Any) -> tuple[Array | None, np.generic]:
    """A number as a kernel takes it: where it stands on the device, or its value."""
    scalar = np.dtype(dtype).type
    known = isinstance(value, int | float | np.generic)
    return (None, scalar(value)) if known else (value, scalar(0))


def is_number(value: Any, dtype: Any) -> bool:
    """Whether `number` can take it: a number of the host, or a 0-d array of just this dtype."""
    if isinstance(value, int | float | np.generic):
        return True
    return are_scalars(dtype, value)


def are_scalars(dtype: Any, *arrays: Any) -> bool:
    """Whether these are 0-d arrays of this dtype, which a kernel reads by their address."""
    kind = np.dtype(dtype), ()
    return all((getattr(a, "dtype", None), getattr(a, "shape", None)) == kind for a in arrays)


def pointer(argument: Array | np.generic | None) -> Any:
    """An argument as a launch takes it: a null pointer for None, arrays and numbers as they are."""
    return np.uintp(0) if argument is None else argument


def _three(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else size
