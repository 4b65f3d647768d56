"""Snapshots of the host's state in training: numbers, and references to arrays.

A captured step repeats what was captured. If a layer counts its steps in an attribute, or replaces
an array by a new one, the captured step would continue with the old value and be silently wrong. So
a step is captured only if it changes nothing on the host but known counters.
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

# The counters in our own objects, which each step advances.
COUNTERS = ((RandomStream, "_count"), (FlatOptimizer, "_steps"))
# Attributes that exist only between forward and backward, or do not affect what is computed.
PASSING = (
    (Layer, ("saved", "input_contract", "_drawn")),
    (Loss, ("saved",)),
    (FlatOptimizer, ("schedule",)),  # each epoch computes its rates again
    ((Parameter, FlatStore), ("_used", "_grad_used", "used")),
)
NUMBERS = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype)
# Python's own notes about a class, such as its line in the file.
NOTES = ("__firstlineno__", "__static_attributes__")
# Objects that are not searched: they hold no state, or are shared by everything.
CLOSED = (Backend, ModuleType)
OURS = ("minibnn.", "builtins", "abc", "typing", "enum", "dataclasses", "numpy", "cupy")


class Counter(NamedTuple):
    """An attribute that counts the arrays of a random stream or the updates of an optimiser."""

    owner: Any
    name: str

    @property
    def value(self) -> int:
        """Its current value."""
        return int(getattr(self.owner, self.name))

    def set(self, value: int) -> None:
        """Set its value."""
        setattr(self.owner, self.name, value)


class Content(NamedTuple):
    """An object that may change in place, and what it holds now."""

    owner: Any
    content: Any


class HostState:
    """A snapshot of everything that can be reached from some objects.

    It searches objects (attributes and slots), containers, functions (closures and defaults), bound
    methods, `functools.partial`, and the class attributes of users' classes. It includes the states
    of random generators, also of the global ones. It does not see global variables or files.

    Args:
        array_type: the class of arrays on the device.
        roots: the objects to start from, by name.

    Attributes:
        values: what was found, by path: numbers and strings by value, host arrays by content, and
            everything else, including device arrays, by identity.
        counts: the counters that were found, with their values.
        arrays: the device arrays, each once.
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
            self.values[path] = Content(value, bytes(value))
        elif isinstance(value, np.random.Generator):
            self.values[path] = Content(value, repr(value.bit_generator.state))
        elif isinstance(value, np.random.RandomState):
            self.values[path] = Content(value, repr(value.get_state()))
        elif hasattr(value, "getstate") and not isinstance(value, type):  # random.Random
            self.values[path] = Content(value, repr(value.getstate()))
        elif isinstance(value, Iterator):
            self.values[path] = object()  # its position is unknown, so it counts as changed
        elif not isinstance(value, CLOSED):
            for name, item in self._inside(value):
                self._look(path + name, item)

    def _inside(self, value: Any) -> Iterator[tuple[str, Any]]:
        """An object's contents, each with its suffix for the path."""
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
    """Whether a class attribute may hold state: it is no method, property or class."""
    return not hasattr(type(value), "__get__") and not isinstance(value, type)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(_same, one, other))
    if one is other:
        return True
    numbers = isinstance(one, NUMBERS) and type(one) is type(other)
    return numbers and bool(one == other or (one != one and other != other))  # nan equals nan here
