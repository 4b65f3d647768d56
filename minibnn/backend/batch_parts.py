"""A batch in parts, which several processes compute: sums over the whole batch.

A layer sees only its process's part. A statistic such as batch norm's mean is over the whole batch,
so its sums have to be added up over the parts. `DataParallel` opens a `BatchPart` around the
forward and backward of each part; in ordinary training there is none, and these functions return
what they are given.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from minibnn.backend.array import Array


class BatchPart(Protocol):
    """A part of a batch.

    Attributes:
        samples: how many samples the part has.
        whole: how many the batch has.
    """

    samples: int
    whole: int

    def add_up(self, sums: Array) -> Array:
        """The sums of this part plus those of all others; every part calls it in the same order."""


class _Running(threading.local):
    part: BatchPart | None = None


_running = _Running()


@contextmanager
def part_of_batch(part: BatchPart) -> Iterator[None]:
    """A context in which this thread computes a part of a batch."""
    before, _running.part = _running.part, part
    try:
        yield
    finally:
        _running.part = before


def is_part() -> bool:
    """Whether this thread computes a part of a batch.

    Fast implementations whose statistics are of the arrays they get are not used then.
    """
    return _running.part is not None


def over_whole_batch(sums: Array) -> Array:
    """Sums over a part's samples, as sums over all samples of the batch.

    A layer with statistics of its own calls it in forward, in backward, or in both: every part
    makes the same calls. Gradients of parameters are added up elsewhere, and need no call.

    Shapes: any, the same in all parts.
    """
    part = _running.part
    return sums if part is None else part.add_up(sums)


def count_in_whole_batch(values: int) -> int:
    """The number of values that a channel has in the whole batch, from the number in this part."""
    part = _running.part
    return values if part is None else values // part.samples * part.whole
