"""Updates of state: each one is complete or does not happen; see `Backend.update`."""

from __future__ import annotations

import math
import threading

from minibnn.backend.array import Array


class Updates(threading.local):
    """The flag of a thread's current update: whether writes are allowed."""

    allowed: Array | None = None


class Update:
    """A context in which a thread's writes depend on a flag; afterwards, on the previous flag."""

    def __init__(self, updates: Updates, allowed: Array) -> None:
        self._updates = updates
        self._allowed = allowed

    def __enter__(self) -> None:
        self._before, self._updates.allowed = self._updates.allowed, self._allowed

    def __exit__(self, *error: object) -> None:
        self._updates.allowed = self._before


def note_finite(allowed: Array, a: Array) -> None:
    """Clear `allowed` if a value of `a` is not finite.

    Shapes: allowed bool (), a any.
    """
    allowed &= (abs(a) < math.inf).all()
