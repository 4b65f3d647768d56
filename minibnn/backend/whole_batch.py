"""Sums over a whole batch of which a thread computes a part, in training on several ranks."""

from __future__ import annotations

import threading
from typing import Any

from minibnn.backend.array import Array


class Running(threading.local):
    """The part that this thread computes, with `over_whole_batch`; None for a whole batch.

    While there is one, implementations whose statistics are of the arrays they get decline, or add
    up with the others.
    """

    part: Any = None


running = Running()


def over_whole_batch(n: int, *sums: Array) -> tuple[Any, ...]:
    """The number of values of a channel, and sums over them, in the whole batch.

    In training on several ranks, a layer sees only a part of the batch. A layer of your own with
    a statistic over the batch calls this, in forward, backward or both; every part makes the same
    calls. In all other training it returns its arguments. Gradients of parameters are added up
    elsewhere, and need no call.

    Args:
        n: the number of values in this part.
        sums: over this part's samples, of one shape.
    """
    part = running.part
    return (n, *sums) if part is None else part.over_whole_batch(n, *sums)
