"""Find the hand-written CUDA kernels, and record which of them are launched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from minibnn.backend.cuda import FILES, CupyBackend, Kernels, source

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
KERNEL = re.compile(r"^KERNEL (?:__launch_bounds__\(.*?\)\s)?(\w+)\((.*?)\)\s*\{", re.M | re.S)


class Key(NamedTuple):
    """A kernel, compiled for one type of floats."""

    file: str
    name: str
    dtype: str


class Launch(NamedTuple):
    """A launch of a kernel, with its arguments."""

    key: Key
    arguments: tuple[Any, ...]
    blocks: int | tuple[int, ...]
    threads: int | tuple[int, ...]

    @property
    def size(self) -> int:
        """The bytes of its arrays."""
        return sum(a.nbytes for a in self.arguments if a is not None and a.ndim)


class RecordingKernels(Kernels):
    """Kernels that record their launches: for each kernel, the launch with the largest arrays."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels
        self.launched: dict[Key, Launch] = {}

    def launch(  # noqa: D102  # see Kernels
        self,
        file: str,
        name: str,
        dtype: Any,
        arguments: tuple[Any, ...],
        *,
        blocks: int | tuple[int, ...],
        threads: int | tuple[int, ...] = 256,
    ) -> None:
        self.kernels.launch(file, name, dtype, arguments, blocks=blocks, threads=threads)
        key = Key(file, name, np.dtype(dtype).name)
        launch = Launch(key, arguments, blocks, threads)
        if key not in self.launched or launch.size > self.launched[key].size:
            self.launched[key] = launch


@contextmanager
def recorded_launches(backend: CupyBackend) -> Iterator[RecordingKernels]:
    """Record the backend's launches in this context."""
    kernels = backend.kernels
    backend.kernels = recording = RecordingKernels(kernels)
    try:
        yield recording
    finally:
        backend.kernels = kernels


def missing(launched: Iterable[Key]) -> list[str]:
    """The kernels in the ``.cu`` files that were not launched.

    A kernel with a float type is needed for each of `FLOATS`.
    """
    launched = set(launched)
    not_launched = []
    for file in FILES:
        for name, parameters in KERNEL.findall(source(file, np.float32)):
            keys = {Key(file, name, dtype.name) for dtype in FLOATS}
            both = re.search(r"\bT\b", parameters)
            if not keys & launched or (both and keys - launched):
                not_launched += [
                    f"{key.file}/{key.name} {key.dtype}" for key in sorted(keys - launched)
                ]
    return not_launched
