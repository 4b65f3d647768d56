"""Which hand-written kernels there are, and which of them are launched."""

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
    """A kernel with its arguments."""

    key: Key
    arguments: tuple[Any, ...]
    blocks: int | tuple[int, ...]
    threads: int | tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        return sum(a.nbytes for a in self.arguments if a is not None and a.ndim)


class Listening(Kernels):
    """Kernels that note who is launched; of several launches, the one with the largest arrays."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels
        self.heard: dict[Key, Launch] = {}

    def launch(
        self,
        file: str,
        name: str,
        dtype: Any,
        arguments: tuple[Any, ...],
        *,
        blocks: int | tuple[int, ...],
        threads: int | tuple[int, ...] = 256,
    ) -> None:
        """As `Kernels`."""
        self.kernels.launch(file, name, dtype, arguments, blocks=blocks, threads=threads)
        key = Key(file, name, np.dtype(dtype).name)
        launch = Launch(key, arguments, blocks, threads)
        if key not in self.heard or launch.size > self.heard[key].size:
            self.heard[key] = launch


@contextmanager
def listening(backend: CupyBackend) -> Iterator[Listening]:
    """While entered, the backend's launches are noted."""
    kernels = backend.kernels
    backend.kernels = ears = Listening(kernels)
    try:
        yield ears
    finally:
        backend.kernels = kernels


def missing(heard: Iterable[Key]) -> list[str]:
    """The kernels that the ``.cu`` files have and nobody launched.

    Those that take the type of floats are needed for both.
    """
    heard = set(heard)
    lacking = []
    for file in FILES:
        for name, parameters in KERNEL.findall(source(file, np.float32)):
            keys = {Key(file, name, dtype.name) for dtype in FLOATS}
            both = re.search(r"\bT\b", parameters)
            if not keys & heard or (both and keys - heard):
                lacking += [f"{key.file}/{key.name} {key.dtype}" for key in sorted(keys - heard)]
    return lacking
