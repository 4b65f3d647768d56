"""Users' objects that `fit` calls as it goes.

A callback is any object with some of these methods:

.. code-block:: python

    def on_begin(self, model, history): ...     # before the first step; no epochs in history yet
    def on_losses(self, losses): ...            # after each epoch, with the losses of its steps
    def on_epoch(self, history): ...            # after that, with the history so far
    def on_step(self, epoch, step): ...         # after each step; both counted from 1
    def on_end(self, history): ...              # when `fit` is about to return

If `on_epoch` or `on_step` returns True, training stops. Other results mean nothing.

A callback that keeps something has ``state()`` and ``restore(state)`` as well (see
`minibnn.state`), and a training that is resumed from a checkpoint goes on with it exactly.
`on_begin` is called before `restore`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from minibnn.layers import Layer
from minibnn.state import State, Stateful, has_state

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = "Callable[[], pd.DataFrame]"  # makes a history, for each callback its own
METHODS = ("on_begin", "on_losses", "on_epoch", "on_step", "on_end")
ENDS = ("on_epoch", "on_step")  # those that may stop the training


class Callbacks(Stateful):
    """The callbacks of a training, called one after the other.

    Args:
        callbacks: see above.
        on_epoch: called after their `on_epoch`; its state, if any, is saved apart.

    Attributes:
        stopped: whether one of them has stopped the training.

    Raises:
        TypeError: if an object has none of the methods, or `state` without `restore`.
    """

    def __init__(
        self, callbacks: Sequence[object] = (), on_epoch: Callable[..., object] | None = None
    ) -> None:
        if not isinstance(callbacks, list | tuple):
            raise TypeError(
                f"fit: expected callbacks to be a list of objects, got {callbacks!r:.80}; write "
                "callbacks=[...]"
            )
        for callback in callbacks:
            _check(callback)
        if on_epoch is not None and not callable(on_epoch):
            raise TypeError(
                f"fit: expected on_epoch to be a function of the history, got {on_epoch!r:.80}; "
                "give objects as callbacks=[...]"
            )
        self.callbacks: list[Any] = list(callbacks)
        self.on_epoch = on_epoch
        self.stopped = False

    def __repr__(self) -> str:
        return f"Callbacks({self.callbacks!r})"

    @property
    def each_step(self) -> list[Any]:
        """Those that are called after each step."""
        return [c for c in self.callbacks if hasattr(c, "on_step")]

    @property
    def keep(self) -> bool:
        """Whether one of them has a state of its own."""
        return any(map(has_state, self.callbacks))

    def begin(self, model: Layer, table: Table) -> None:
        """Call each `on_begin`."""
        self._call("on_begin", model, table)

    def losses(self, losses: np.ndarray[Any, Any]) -> None:
        """Call each `on_losses`, with an array on the host that belongs to it."""
        self._call("on_losses", lambda: losses.copy())

    def epoch(self, table: Table) -> bool:
        """Call each `on_epoch`; whether training stops."""
        self._call("on_epoch", table)
        if self.on_epoch is not None:
            with _told("on_epoch"):
                self.stopped |= _is_true(self.on_epoch(table()))
        return self.stopped

    def step(self, epoch: int, step: int) -> bool:
        """Call each `on_step`; whether training stops."""
        self._call("on_step", epoch, step)
        return self.stopped

    def end(self, table: Table) -> None:
        """Call each `on_end`."""
        self._call("on_end", table)

    def _call(self, name: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            method = getattr(callback, name, None)
            if method is None:
                continue
            with _told(f"{type(callback).__name__}.{name}"):
                given = [a() if isinstance(a, FunctionType) else a for a in arguments]
                result = method(*given)
            self.stopped |= name in ENDS and _is_true(result)

    def describe(self) -> list[Any]:
        """What of them decides the result: classes, and the arguments of minibnn's own."""
        from minibnn.description import describe_loosely  # slow to import

        return [
            describe_loosely(c) if type(c).__module__.startswith("minibnn.") else type(c).__name__
            for c in self.callbacks
        ]

    def state(self) -> State:
        """Whether training was stopped, and the callbacks' states by their positions."""
        states = {str(i): c.state() for i, c in enumerate(self.callbacks) if has_state(c)}
        return {**({"stopped": 1} if self.stopped else {}), **states}

    def restore(self, state: State) -> None:
        """Put a state back."""
        self.stopped = bool(state.get("stopped", 0))
        for i, callback in enumerate(self.callbacks):
            if has_state(callback):
                callback.restore(state[str(i)])


def _check(callback: object) -> None:
    name = type(callback).__name__
    if isinstance(callback, type):
        raise TypeError(
            f"fit: expected objects as callbacks, got the class {callback.__name__}; write "
            f"{callback.__name__}(...)"
        )
    if not any(callable(getattr(callback, m, None)) for m in METHODS):
        hint = "pass a function as on_epoch=..." if callable(callback) else "give it one of them"
        raise TypeError(
            f"fit: expected a callback with {', '.join(METHODS[:-1])} or {METHODS[-1]}, got "
            f"{name}; {hint}"
        )
    has = [callable(getattr(callback, m, None)) for m in ("state", "restore")]
    if has[0] != has[1]:
        raise TypeError(
            f"{name}: expected both state() and restore(state), or neither, got "
            f"{'state' if has[0] else 'restore'} alone; write both, to resume with what it keeps"
        )


def _is_true(result: object) -> bool:
    """Whether a result is True: not 3, which a function may return that has nothing to say."""
    return isinstance(result, bool | np.bool_) and bool(result)


@contextmanager
def _told(who: str) -> Iterator[None]:
    """Name the callback in an error that it raises."""
    try:
        yield
    except Exception as error:
        error.add_note(f"fit: raised by {who}")
        raise
