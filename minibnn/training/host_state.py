"""What the host keeps about a model in training: numbers, and which arrays are where.

A recorded step repeats what was recorded. If a layer counts its steps in an attribute, or puts a
new array in the place of an old one, its recorded step would go on with the old value and be
silently wrong. So a step is recorded only if it leaves the host's state as it was, but for known
counters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minibnn.backend import Backend
from minibnn.draws import Draws
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers.base import FlatOptimizer

# What a step leaves behind for the next one to find, of objects of ours.
COUNTERS = ((Draws, "count"), (FlatOptimizer, "_steps"))
# What only lives between a forward and its backward, or is a note that changes nothing.
PASSING = (
    (Layer, ("saved", "_drawn")),
    (Loss, ("saved",)),
    (FlatOptimizer, ("schedule",)),  # a step asks for its rates through `Backend.numbers`
)
NUMBERS = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype)


class Counter(NamedTuple):
    """An attribute that counts: the draws of a stream, the steps of an optimiser."""

    owner: Any
    name: str

    @property
    def value(self) -> int:
        """What it says."""
        return int(getattr(self.owner, self.name))

    def set(self, value: int) -> None:
        """Change what it says."""
        setattr(self.owner, self.name, value)


class HostState:
    """A snapshot of everything that can be reached from some objects through their attributes.

    Args:
        array_type: of the arrays that lie on a device.
        roots: where to begin, by name.

    Attributes:
        values: what was found, by path: numbers and texts as they are, host arrays by their
            contents, everything else, arrays on the device too, as the object itself.
        counts: the counters that were found, and what they said.
    """

    def __init__(self, array_type: type, **roots: object) -> None:
        self.values: dict[str, Any] = {}
        self.counts: list[tuple[Counter, int]] = []
        self._array_type = array_type
        self._seen: set[int] = set()  # ids stay theirs, since `values` holds the objects
        for name, root in roots.items():
            self._look(name, root)

    def changed(self, later: HostState) -> list[str]:
        """The paths at which another snapshot differs, sorted."""
        paths = self.values.keys() | later.values.keys()
        return sorted(
            path
            for path in paths
            if not _same(self.values.get(path, _same), later.values.get(path, _same))
        )

    def _look(self, path: str, value: Any) -> None:
        self.values[path] = value
        if isinstance(value, NUMBERS) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, np.ndarray):
            self.values[path] = (value, value.tobytes())
        elif isinstance(value, np.random.Generator):
            self.values[path] = (value, repr(value.bit_generator.state))
        elif isinstance(value, dict):
            for key, item in value.items():
                self._look(f"{path}[{key!r}]", item)
        elif isinstance(value, list | tuple | set | frozenset):
            for i, item in enumerate(value):
                self._look(f"{path}[{i}]", item)
        elif not isinstance(value, Backend | type | self._array_type):
            self._look_inside(path, value)

    def _look_inside(self, path: str, value: Any) -> None:
        passing = {name for kind, names in PASSING if isinstance(value, kind) for name in names}
        for kind, name in COUNTERS:
            if isinstance(value, kind):
                counter = Counter(value, name)
                self.counts.append((counter, counter.value))
                passing.add(name)
        for name, item in getattr(value, "__dict__", {}).items():
            if name not in passing:
                self._look(f"{path}.{name}", item)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(_same, one, other))
    if one is other:
        return True
    numbers = isinstance(one, NUMBERS) and type(one) is type(other)
    return numbers and bool(one == other or (one != one and other != other))  # nan is like nan
