"""State that training changes and no `state()` gives: found early, not when it is missed.

A layer of a user's own may count its steps or hold a random generator. Unless it extends `state`,
a resumed training would continue with other values. So two steps are compared before the first
checkpoint is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from minibnn.backend import Backend
from minibnn.data.epochs import Loader
from minibnn.data.loader import DataLoader
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.base import FlatOptimizer
from minibnn.random_stream import RandomStream
from minibnn.state import Stateful, has_own_state, parts_of
from minibnn.training.arguments import OURS, arguments_in_no_state, flat
from minibnn.training.capture.host_state import Content, HostState
from minibnn.training.job import differences

GLOBAL = "the state of "  # how the paths of the global random generators begin
LOADER_HINT = (
    "(a loader's order(epoch) and batches(epoch) run again when training goes on inside an epoch: "
    "let them depend on the epoch's number alone, as np.random.default_rng([seed, epoch]) does)"
)
AUGMENT = "'s augment"  # ends the name of a loader's function, in paths
AUGMENT_HINT = (
    "(augment runs again when training goes on: let it draw from the generator that it gets, and "
    "keep nothing from batch to batch)"
)
ARGUMENT_HINT = (
    "(if on_epoch sets it, give on_epoch the methods state and restore, and set it there, too)"
)


class UnrecordedState:
    """What training changes in users' objects, and their `state` does not have.

    Args:
        model: whose layers and functions are searched.
        loss: searched as well.
        optimizer: searched as well, and its schedules.
        loader: searched if its class or its `augment` is a user's own: its batches may depend on
            nothing that an epoch changes.
        arguments: whether to compare the constructors' arguments, too. An `on_epoch` with a state
            may set them.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        loader: Loader,
        *,
        arguments: bool = True,
    ) -> None:
        self._backend: Backend = model.backend
        self._roots: dict[str, Any] = {"model": model, "loss": loss, "optimizer": optimizer}
        for i, one in enumerate(flat(optimizer)):
            if isinstance(one, FlatOptimizer):  # `HostState` leaves it out
                self._roots[f"schedule {i} ({type(one).__name__}'s)"] = one.schedule
        self._loader = loader
        self._known = {id(_root(a)) for a in _recorded(model, optimizer)}
        self._known |= set(_recorded_streams(model, loss))
        self._last: dict[str, Any] | None = None
        # A loader may draw an epoch's order before the first step.
        self._before: dict[str, Any] | None = self._look_at_batches()
        self._calls = 0
        self._trained = (model, loss, optimizer) if arguments else None
        self._arguments = self._look_at_arguments()

    def changed(self) -> list[str]:
        """What changed since the last call, with its path and class; arguments, since the first.

        Objects are searched from the first call on: a first step may keep constants. The global
        random generators are looked at in the first two calls only: later, a user's `on_epoch` may
        draw from them.
        """
        self._calls += 1
        last, self._last = self._last, self._look()
        before, self._before = self._before, self._look_at_batches() if self._calls <= 2 else None
        found = _differing(last, self._last) if last is not None else []
        if before is not None and self._before is not None:
            found += _differing(before, self._before)
        changed = differences(self._arguments, self._look_at_arguments())
        return found + [f"{one} {ARGUMENT_HINT}" for one in changed]

    def _look_at_arguments(self) -> dict[str, Any]:
        return {} if self._trained is None else arguments_in_no_state(*self._trained)

    def _look(self) -> dict[str, Any]:
        """What is in no state, by path and class, as values that can be compared."""
        found = HostState(self._backend.array_type, **self._roots).values
        return {
            f"{path.replace('._layers[', '.layers[')} of {_class_at(path, found)}": (
                self._comparable(value)
            )
            for path, value in found.items()
            if self._is_unrecorded(path, found)
        }

    def _look_at_batches(self) -> dict[str, Any]:
        """What batches may depend on, likewise: a loader's attributes, global generators."""
        own: dict[str, Any] = {}
        # Others have all of their state.
        if isinstance(self._loader, DataLoader) and type(self._loader).__iter__ is Loader.__iter__:
            base, who = vars(DataLoader((np.zeros(1),), 1)), type(self._loader).__name__
            own = {f"{who}.{n}": v for n, v in vars(self._loader).items() if n not in base}
            own |= {f"{who}{AUGMENT}": self._loader.augment}
        found = HostState(self._backend.array_type, **own).values
        return {
            path if path.startswith(GLOBAL) else f"{path} {_batches_hint(path)}": (
                self._comparable(value)
            )
            for path, value in found.items()
        }

    def _is_unrecorded(self, path: str, found: dict[str, Any]) -> bool:
        if path.startswith(GLOBAL):
            return False
        owners = _owners(path, found)
        if isinstance(found[path], RandomStream):  # it may be in a list, which no state has
            return not any(has_own_state(owner) for owner in owners)
        return next((not _tells(owner) for owner in owners), False)

    def _comparable(self, value: Any) -> Any:
        """A value that differs when a number, a text, or an array's content differs."""
        array = isinstance(value, self._backend.array_type)
        if id(_root(value) if array else value) in self._known:
            return "recorded elsewhere"
        if array:
            import hashlib  # slow to import

            host = self._backend.to_host(value)
            return (str(host.dtype), host.shape, hashlib.sha256(host.tobytes()).hexdigest())
        if isinstance(value, Content):
            return value.content
        if isinstance(value, list | deque):  # dicts may be caches, which grow
            return (type(value), len(value))
        if isinstance(value, bool | int | float | complex | str | bytes | np.generic):
            return repr(value)
        if isinstance(value, RandomStream):
            return repr(value)
        # An iterator is a new object() in each snapshot.
        return value if type(value) is object else type(value)


def _batches_hint(path: str) -> str:
    return AUGMENT_HINT if AUGMENT in path else LOADER_HINT


def _differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [path for path, value in after.items() if before.get(path, value) != value]


def _owners(path: str, found: dict[str, Any]) -> Iterator[Any]:
    """The objects with attributes that a path leads through, innermost first."""
    for end in range(len(path) - 1, 0, -1):
        if path[end] in ".[ ":
            owner = found.get(path[:end])
            if hasattr(owner, "__dict__"):
                yield owner


def _class_at(path: str, found: dict[str, Any]) -> str:
    """The name of the class whose attribute this is."""
    owner = next(_owners(path, found), None)
    return owner.__name__ if isinstance(owner, type) else type(owner).__name__


def _tells(value: Any) -> bool:
    """Whether an object's state is known: its class is minibnn's, or defines `state` itself."""
    return type(value).__module__.startswith(OURS) or has_own_state(value)


def _recorded(model: Layer, optimizer: Optimizer) -> Iterator[Any]:
    """The arrays that the states of model and optimiser have, and the gradients."""
    for p in model.parameters():
        yield from (p.data, vars(p)["grad"])
    yield from (buffer.data for buffer in model.buffers() if buffer.data is not None)
    for one in flat(optimizer):
        if isinstance(one, FlatOptimizer):
            yield one.store.data
            yield from (a for a in vars(one).values() if isinstance(a, one.backend.array_type))


def _recorded_streams(*owners: Any) -> Iterator[int]:
    """The ids of the random streams that their states have."""
    for owner in owners:
        if isinstance(owner, RandomStream):
            yield id(owner)
        if isinstance(owner, Layer):
            yield from _recorded_streams(*owner.children())
        if isinstance(owner, Stateful):
            parts = [part for _, part in parts_of(owner, Stateful) if not isinstance(part, Layer)]
            yield from _recorded_streams(*parts)


def _root(a: Any) -> Any:
    """The array whose memory a view shows."""
    while isinstance(getattr(a, "base", None), type(a)):
        a = a.base
    return a
