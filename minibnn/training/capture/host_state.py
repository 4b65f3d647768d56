"""What the host keeps about a model in training: numbers, and which arrays are where.

A captured step repeats what was captured. If a layer counts its steps in an attribute, or puts a
new array in the place of an old one, its captured step would go on with the old value and be
silently wrong. So a step is captured only if it leaves the host's state as it was, but for known
counters.
"""

from __future__ import annotations

import array
import functools
import sys
from collections import deque
from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from minibnn.backend import Array, Backend
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers.base import FlatOptimizer
from minibnn.parameter import FlatStore, Parameter
from minibnn.random_stream import RandomStream

# What a step leaves behind for the next one to find, of objects of ours.
COUNTERS = ((RandomStream, "_count"), (FlatOptimizer, "_steps"))
# What only lives between a forward and its backward, or is a note that changes nothing.
PASSING = (
    (Layer, ("saved", "input_contract", "_drawn")),
    (Loss, ("saved",)),
    (FlatOptimizer, ("schedule",)),  # each epoch takes its rates anew
    ((Parameter, FlatStore), ("_used", "_grad_used", "used")),
)
NUMBERS = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype)
# What Python itself notes about a class: where it stands in its file, and its like.
NOTES = ("__firstlineno__", "__static_attributes__")
# What is not looked into: it is no state, or it is everybody's.
CLOSED = (Backend, ModuleType)
OURS = ("minibnn.", "builtins", "abc", "typing", "enum", "dataclasses", "numpy", "cupy")


class Counter(NamedTuple):
    """An attribute that counts: the arrays of a stream, the updates of an optimiser."""

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
    """A snapshot of everything that can be reached from some objects.

    It looks into attributes, slots, containers, closures and defaults of functions, bound methods,
    partial functions, the attributes of users' own classes, and at the states of random generators,
    the global ones too. It sees neither global variables nor files.

    Args:
        array_type: of the arrays that lie on a device.
        roots: where to begin, by name.

    Attributes:
        values: what was found, by path: numbers and texts as they are, host arrays by their
            contents, everything else, arrays on the device too, as the object itself.
        counts: the counters that were found, and what they said.
        arrays: those on the device, each once.
    """

    def __init__(self, array_type: type, **roots: object) -> None:
        self.values: dict[str, Any] = {}
        self.counts: list[tuple[Counter, int]] = []
        self.arrays: list[Array] = []
        self._array_type = array_type
        self._seen: set[int] = set()  # ids stay theirs, since `values` holds the objects
        for name, root in roots.items():
            self._look(name, root)
        if "random" in sys.modules:
            self.values["the state of random"] = repr(sys.modules["random"].getstate())
        if "numpy.random" in sys.modules:
            self.values["the state of numpy.random"] = repr(np.random.get_state())  # noqa: NPY002

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
        if isinstance(value, self._array_type):
            self.arrays.append(value)
        elif isinstance(value, np.ndarray | bytearray | memoryview | array.array):
            self.values[path] = (value, bytes(value))
        elif isinstance(value, np.random.Generator):
            self.values[path] = (value, repr(value.bit_generator.state))
        elif isinstance(value, np.random.RandomState):
            self.values[path] = (value, repr(value.get_state()))
        elif hasattr(value, "getstate") and not isinstance(value, type):  # random.Random
            self.values[path] = (value, repr(value.getstate()))
        elif isinstance(value, Iterator):
            self.values[path] = object()  # nobody can say where it stands: it has always changed
        elif not isinstance(value, CLOSED):
            for name, item in self._inside(value):
                self._look(path + name, item)

    def _inside(self, value: Any) -> Iterator[tuple[str, Any]]:
        """What an object holds, with what to add to its path."""
        if isinstance(value, dict):
            yield from ((f"[{key!r}]", item) for key, item in list(value.items()))
        elif isinstance(value, list | tuple | set | frozenset | deque):
            yield from ((f"[{i}]", item) for i, item in enumerate(list(value)))
        elif isinstance(value, FunctionType):
            names = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            yield from ((f".{name}", cell.cell_contents) for name, cell in names)
            yield from ((f".{n}", getattr(value, n)) for n in ("__defaults__", "__kwdefaults__"))
            yield from ((f".{n}", v) for n, v in vars(value).items())
        elif isinstance(value, MethodType):
            yield ".__self__", value.__self__
        elif isinstance(value, functools.partial):
            yield from ((f".{n}", getattr(value, n)) for n in ("func", "args", "keywords"))
        elif isinstance(value, type):
            if not value.__module__.startswith(OURS):
                data = [(n, v) for n, v in list(vars(value).items()) if _is_data(v)]
                yield from ((f".{n}", v) for n, v in data if n not in NOTES)
        else:
            yield from self._attributes(value)

    def _attributes(self, value: Any) -> Iterator[tuple[str, Any]]:
        passing = {name for kind, names in PASSING if isinstance(value, kind) for name in names}
        for kind, name in COUNTERS:
            if isinstance(value, kind):
                counter = Counter(value, name)
                self.counts.append((counter, counter.value))
                passing.add(name)
        attributes = dict(getattr(value, "__dict__", {}))
        for base in type(value).__mro__:
            slots = getattr(base, "__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(value, name):
                    attributes[name] = getattr(value, name)
        yield from ((f".{n}", v) for n, v in attributes.items() if n not in passing)
        yield " (its class)", type(value)


def _is_data(value: Any) -> bool:
    """Whether a class attribute may be a state: no method, property or the like."""
    return not hasattr(type(value), "__get__") and not isinstance(value, type)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(_same, one, other))
    if one is other:
        return True
    numbers = isinstance(one, NUMBERS) and type(one) is type(other)
    return numbers and bool(one == other or (one != one and other != other))  # nan is like nan
