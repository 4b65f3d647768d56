"""State that training changes and no `state()` gives: found early, not when it is missed.

A layer of a user's own may count its steps or hold a random generator. Unless it extends `state`,
a resumed training would continue with other values. So two steps are compared before the first
checkpoint is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from minibnn.backend import Backend
from minibnn.data.loader import DataLoader
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.base import FlatOptimizer
from minibnn.training.capture.host_state import HostState

GLOBAL = "the state of "  # how the paths of the global random generators begin
OURS = "minibnn."
# An object of a class with one of these modules has a complete state, or none.


class UnrecordedState:
    """The attributes of users' objects that their `state` does not have.

    Args:
        model: whose layers and functions are searched.
        loss: searched as well.
        optimizer: searched as well.
        loader: searched if its class is a user's own.
    """

    def __init__(self, model: Layer, loss: Loss, optimizer: Optimizer, loader: DataLoader) -> None:
        self._backend: Backend = model.backend
        self._roots: dict[str, Any] = {"model": model, "loss": loss, "optimizer": optimizer}
        if not _tells(loader):
            base = vars(DataLoader((np.zeros(1),), 1))
            own = {name: value for name, value in vars(loader).items() if name not in base}
            self._roots |= {f"{type(loader).__name__}.{name}": value for name, value in own.items()}
        self._loader_names = set(self._roots) - {"model", "loss", "optimizer"}
        self._known = {id(_root(a)) for a in _recorded(model, optimizer)}
        self._last: dict[str, Any] | None = None

    def changed(self) -> list[str]:
        """What changed since the last call, as paths; nothing in the first call."""
        before, self._last = self._last, self._look()
        if before is None:
            return []
        return [path for path, value in self._last.items() if before.get(path, value) != value]

    def _look(self) -> dict[str, Any]:
        found = HostState(self._backend.array_type, **self._roots).values
        return {
            path: self._comparable(value)
            for path, value in found.items()
            if self._is_unrecorded(path, found)
        }

    def _is_unrecorded(self, path: str, found: dict[str, Any]) -> bool:
        if path.startswith(GLOBAL) or path in self._loader_names:
            return True
        owner = path
        while match := re.match(r"(.+)(?:\.[^.\[\]]+|\[[^\[\]]*\])$", owner):
            owner = match[1]
            if owner in self._loader_names:
                return True
            value = found.get(owner)
            if value is not None and hasattr(value, "__dict__"):
                return not _tells(value)
        return False

    def _comparable(self, value: Any) -> Any:
        """A value that differs when a number, a text, or an array's content differs."""
        if isinstance(value, self._backend.array_type):
            if id(_root(value)) in self._known:
                return "recorded elsewhere"
            host = self._backend.to_host(value)
            return (str(host.dtype), host.shape, host.tobytes())
        if isinstance(value, tuple):  # of HostState: an object, and its content
            return repr(value[1:])
        if isinstance(value, bool | int | float | complex | str | bytes | np.generic):
            return repr(value)
        return type(value)


def _tells(value: Any) -> bool:
    """Whether an object's state is known: its class is minibnn's, or defines `state` itself."""
    kind = type(value)
    if kind.__module__.startswith(OURS):
        return True
    for base in kind.__mro__:
        if "state" in vars(base):
            return not base.__module__.startswith(OURS)
    return False


def _recorded(model: Layer, optimizer: Optimizer) -> Iterator[Any]:
    """The arrays that the states of model and optimiser have, and the gradients."""
    for p in model.parameters():
        yield from (p.data, vars(p)["grad"])
    yield from (buffer.data for buffer in model.buffers() if buffer.data is not None)
    for one in getattr(optimizer, "optimizers", [optimizer]):
        if isinstance(one, FlatOptimizer):
            yield one.store.data
            yield from (a for a in vars(one).values() if isinstance(a, one.backend.array_type))


def _root(a: Any) -> Any:
    """The array whose memory a view shows."""
    while isinstance(getattr(a, "base", None), type(a)):
        a = a.base
    return a
