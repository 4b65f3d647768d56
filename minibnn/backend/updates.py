"""Updates of state that are made as a whole or not at all: what `Backend.masked_write` asks."""

from __future__ import annotations

import math
import threading

from minibnn.backend.array import Array


class Updates(threading.local):
    """The flag of the update that is open on a thread: whether its writes are allowed."""

    allowed: Array | None = None


class Update:
    """While entered, a flag is the one that a thread's writes ask; then the one before it."""

    def __init__(self, updates: Updates, allowed: Array) -> None:
        self._updates = updates
        self._allowed = allowed

    def __enter__(self) -> None:
        self._before, self._updates.allowed = self._updates.allowed, self._allowed

    def __exit__(self, *error: object) -> None:
        self._updates.allowed = self._before


def note_finite(allowed: Array, a: Array) -> None:
    """`allowed` stays True if every value of `a` is finite.

    Shapes: allowed bool (), a any.
    """
    allowed &= (abs(a) < math.inf).all()
