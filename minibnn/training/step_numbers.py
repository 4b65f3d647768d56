"""The numbers that a recorded step needs from the host, for a whole epoch in advance.

A step asks for them through `Backend.numbers`: each time the same questions, by counts that go on
evenly. Two plain steps show how; then the answers for all steps can be written down.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np

from minibnn.backend import Array, Backend, Question, Questions
from minibnn.optimizers import FlatOptimizer, Optimizer
from minibnn.training.host_state import Counter, HostState

KEYS = np.dtype(np.uint32)


class CannotRecord(Exception):  # noqa: N818  # no error: training goes on without a recording
    """This step cannot be recorded; the message says why."""


@dataclass(frozen=True)
class Series:
    """A question that every step asks.

    Attributes:
        question: as it was asked in a step.
        stride: how much its count grows from a step to the next.
        follows: the counters that it may be asked by, and how far its count is ahead of each when a
            step begins. Several ones if they said the same.
    """

    question: Question
    stride: int
    follows: list[tuple[Counter, int]]

    def next_count(self) -> int | None:
        """The count by which the next step will ask; None if its counters disagree by now."""
        if not self.stride:
            return self.question.count
        counts = {counter.value + ahead for counter, ahead in self.follows}
        return counts.pop() if len(counts) == 1 else None


def find_series(asked: list[list[Question]], begins: list[HostState]) -> list[Series]:
    """The questions of a step, from those of two steps in a row.

    Args:
        asked: by the first step, and by the second one.
        begins: the host's state when each of them began.

    Raises:
        CannotRecord: if the second step asks for something else, or by a count that is none of the
            known counters'.
    """
    one, two = asked
    if len(begins[0].counts) != len(begins[1].counts):
        raise CannotRecord("the first step made an optimiser or a Draws that was not there before")
    if [(q.dtype, q.size) for q in one] != [(q.dtype, q.size) for q in two]:
        raise CannotRecord("a step asks for other numbers than the one before")
    found = []
    for first, second in zip(one, two, strict=True):
        stride = second.count - first.count
        follows = [
            (counter, second.count - value)
            for (counter, value), (_, before) in zip(
                begins[1].counts, begins[0].counts, strict=True
            )
            if value - before == stride and 0 <= second.count - value < stride
        ]
        if stride and not follows:
            raise CannotRecord(
                "a step asks for numbers by a count that is not an optimiser's or a Draws'"
            )
        found.append(Series(second, stride, follows))
    return found


class NumberTables(Questions):
    """The answers for all steps of an epoch, on the device; in charge while a step is recorded.

    Attributes:
        floats: (n,), those of the step that runs.
        float_table: (steps, n).
        keys: uint32 (k,), likewise.
        key_table: uint32 (steps, k).
    """

    def __init__(self, backend: Backend, dtype: Any, steps: int, series: list[Series]) -> None:
        super().__init__()
        self._backend = backend
        self._series = series
        self._kinds = {np.dtype(dtype): 0, KEYS: 1}
        sizes = [0, 0]
        places: list[tuple[int, slice]] = []
        for s in series:
            kind = self._kinds.get(s.question.dtype)
            if kind is None:
                raise CannotRecord(
                    f"a step asks for numbers of {s.question.dtype}, not {dtype} or {KEYS}"
                )
            places.append((kind, slice(sizes[kind], sizes[kind] + s.question.size)))
            sizes[kind] += s.question.size
        zeros = backend.xp.zeros
        self.floats, self.float_table = zeros(sizes[0], dtype), zeros((steps, sizes[0]), dtype)
        self.keys, self.key_table = zeros(sizes[1], KEYS), zeros((steps, sizes[1]), KEYS)
        self._places = places
        self._views: list[tuple[Array, ...]] = [
            tuple((self.floats, self.keys)[kind][i] for i in range(part.start, part.stop))
            for kind, part in places
        ]

    def fill(self, done: int) -> None:
        """Write down the answers for an epoch's steps from number `done` on, which is the next."""
        rows = [np.zeros(t.shape, t.dtype) for t in (self.float_table, self.key_table)]
        for series, (kind, part) in zip(self._series, self._places, strict=True):
            count, values = series.next_count(), series.question.values
            if count is None:
                continue  # its counters disagree: `_Tape.fits` has seen to it
            for step in range(done, len(self.float_table)):
                rows[kind][step, part] = values(count + (step - done) * series.stride)
        for table, numbers in zip((self.float_table, self.key_table), rows, strict=True):
            if numbers.size:
                table[...] = self._backend.asarray(numbers)

    def answer(self, values: Any, count: int, dtype: Any) -> tuple[Any, ...]:
        """Where the numbers of the running step stand on the device."""
        i = len(self.asked) % max(1, len(self._series))
        numbers = super().answer(values, count, dtype)
        expected = self._series[i].question if self._series else None
        if expected is None or (expected.dtype, expected.size) != (np.dtype(dtype), len(numbers)):
            raise CannotRecord("a step asks for other numbers than the one before")
        return self._views[i]


class _Changing:
    """Stands for an optimiser's count of steps while a step is recorded; to use it is an error."""

    def __init__(self, who: str) -> None:
        self._who = who

    def _used(self, *others: object) -> NoReturn:
        raise RuntimeError(
            f"{self._who}: its steps or rate were read while a step is recorded, which would keep "
            "them for ever; take what changes from step to step from scalars"
        )

    __int__ = __float__ = __index__ = __bool__ = __add__ = __radd__ = __sub__ = __rsub__ = _used
    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __pow__ = _used
    __rpow__ = __lt__ = __le__ = __gt__ = __ge__ = __format__ = __str__ = __repr__ = _used


@contextmanager
def asking(optimizer: Optimizer, recording: bool) -> Iterator[None]:
    """While entered, optimisers take their scalars from `Backend.numbers`."""
    members = [(member, member.steps) for member in _members(optimizer)]
    for member, step in members:
        vars(member)["next_scalars"] = partial(_asked_scalars, member, step)
        if recording:
            vars(member)["end_step"] = member.store.end_step
            vars(member)["steps"] = _Changing(type(member).__name__)
    try:
        yield
    finally:
        for member, step in members:
            del vars(member)["next_scalars"]
            if recording:
                del vars(member)["end_step"]
                member.steps = step + 1


def _members(optimizer: Optimizer) -> Iterator[FlatOptimizer]:
    if isinstance(optimizer, FlatOptimizer):
        yield optimizer
    for member in getattr(optimizer, "optimizers", ()):
        yield from _members(member)


def _asked_scalars(member: FlatOptimizer, step: int) -> list[tuple[Any, ...]]:
    dtype = member.store.data.dtype
    numbers = member.backend.numbers(partial(_flat_scalars, member), step, dtype)
    each = len(numbers) // len(member.segments)
    return [numbers[i : i + each] for i in range(0, len(numbers), each)]


def _flat_scalars(member: FlatOptimizer, step: int) -> tuple[float, ...]:
    return tuple(number for scalars in member.scalars_at(step) for number in scalars)
