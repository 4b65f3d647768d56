"""Per-step scalars, computed for a whole epoch in advance.

An optimiser's scalars are a function of the number of its updates. A random stream's keys are a
function of the number of arrays that it has drawn. Two plain steps show by how much each count
grows in a step. So the scalars of all steps can be computed, and a captured step reads its own on
the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import numpy as np

from minibnn.backend import Array, Backend
from minibnn.optimizers.base import FlatOptimizer
from minibnn.random_stream import RandomStream, stream_keys
from minibnn.training.capture.host_state import Counter, HostState


class CannotCapture(Exception):  # noqa: N818  # not an error: training continues with plain steps
    """This step cannot be captured; the message says why."""


def growth(states: Sequence[HostState]) -> list[tuple[Counter, int]]:
    """By how much each counter grows in a step.

    Args:
        states: the states before a step, after it, and after another step.

    Raises:
        CannotCapture: if the two steps add different numbers, or a counter did not exist at first.
    """
    first, second, third = (state.counts for state in states)
    if [counter for counter, _ in first] != [counter for counter, _ in second]:
        raise CannotCapture(
            "the first step made an optimiser or a RandomStream that was not there before"
        )
    grown = []
    for (counter, a), (_, b), (_, c) in zip(first, second, third, strict=True):
        if not 0 <= b - a == c - b:
            raise CannotCapture(
                f"{type(counter.owner).__name__}: its count grew by {b - a} in a step and by "
                f"{c - b} in the next"
            )
        grown.append((counter, c - b))
    return grown


class Table:
    """The scalars of all objects of one kind, for all steps of an epoch, on the device.

    Args:
        backend: the backend of the arrays.
        dtype: the scalars' dtype.
        steps: the number of steps in an epoch.
        growth: the counters and their growth in a step; other kinds of objects are ignored.

    Attributes:
        row: (n,), the scalars of the current step, which `begin_step` copies.
        rows: (steps, n), the scalars of all steps.

    Raises:
        CannotCapture: if an object computes its scalars in its own way.
    """

    kind: ClassVar[type]
    source: ClassVar[str]  # the method that gives an object its next scalars
    guarded: ClassVar[tuple[str, ...]]  # attributes that a step must not read, the count first
    what: ClassVar[str]
    hint: ClassVar[str]

    def __init__(
        self, backend: Backend, dtype: Any, steps: int, growth: Sequence[tuple[Counter, int]] = ()
    ) -> None:
        self._backend = backend
        self._owners = [(c.owner, times) for c, times in growth if isinstance(c.owner, self.kind)]
        for owner, _ in self._owners:
            method = getattr(owner, self.source)
            if getattr(method, "__func__", None) is not getattr(self.kind, self.source):
                raise CannotCapture(f"{type(owner).__name__} has a {self.source}() of its own")
            if self.dtype_of(owner) != dtype:
                raise CannotCapture(
                    f"{type(owner).__name__} has scalars of {self.dtype_of(owner)}, not {dtype}"
                )
        size = len(self._flat(0))
        self.row, self.rows = backend.xp.zeros(size, dtype), backend.xp.zeros((steps, size), dtype)
        positions = iter(range(size))
        self._views = [
            (owner, [tuple(self.row[next(positions)] for _ in part) for part in scalars])
            for owner, scalars in self._scalars(0)
        ]

    def dtype_of(self, owner: Any) -> Any:
        """The dtype of an object's scalars."""
        raise NotImplementedError

    def scalars_at(self, owner: Any, count: int) -> list[tuple[Any, ...]]:
        """An object's scalars at a count, in tuples."""
        raise NotImplementedError

    def _scalars(self, ahead: int) -> Iterator[tuple[Any, list[tuple[Any, ...]]]]:
        """The objects and their scalars in a step that is `ahead` steps from now."""
        for owner, times in self._owners:
            start = getattr(owner, self.guarded[0]) + ahead * times
            for count in range(start, start + times):
                yield owner, self.scalars_at(owner, count)

    def _flat(self, ahead: int) -> list[Any]:
        return [n for _, scalars in self._scalars(ahead) for part in scalars for n in part]

    def fill(self, done: int) -> None:
        """Compute the rows from step number `done` on, which is the next step."""
        if self.rows.size:
            rows = np.zeros(self.rows.shape, self.rows.dtype)
            for i in range(done, len(rows)):
                rows[i] = self._flat(i - done)
            self.rows[...] = self._backend.asarray(rows)

    @contextmanager
    def in_charge(self) -> Iterator[None]:
        """A context in which objects take the scalars in `row`.

        Reading a count or a rate raises an error: a captured step would keep its value for ever.

        Raises:
            CannotCapture: if a step takes scalars more or fewer times, or sets a count or a rate.
        """
        left = list(self._views)
        guards = [
            (owner, name, vars(owner)[name], Unreadable(owner, self))
            for owner, _ in self._owners
            for name in self.guarded
        ]
        try:
            for owner, _ in self._owners:
                vars(owner)[self.source] = partial(self._give, owner, left)
            for owner, name, _, guard in guards:
                vars(owner)[name] = guard
            yield
            changed = [(o, name) for o, name, _, guard in guards if vars(o)[name] is not guard]
        finally:
            for owner, _ in self._owners:
                vars(owner).pop(self.source, None)
            for owner, name, value, _ in guards:
                vars(owner)[name] = value
        if left:
            raise CannotCapture(f"{type(left[0][0]).__name__}: fewer {self.what} in this step")
        if changed:
            owner, name = changed[0]
            raise CannotCapture(f"a step sets {name.strip('_')} of a {type(owner).__name__}")

    def _give(self, owner: Any, left: list[tuple[Any, list[tuple[Array, ...]]]], *_: Any) -> Any:
        """An object's next scalars; replaces the object's own method.

        It ignores the count that it is called with, which does not change in a capture.
        """
        for i, (taker, scalars) in enumerate(left):
            if taker is owner:
                del left[i]
                return self.given(scalars)
        raise CannotCapture(f"{type(owner).__name__}: more {self.what} in this step")

    def given(self, scalars: list[tuple[Array, ...]]) -> Any:
        """Scalars in the form that the object's own method returns."""
        return scalars


class OptimizerScalars(Table):
    """The scalars of optimisers' updates."""

    kind = FlatOptimizer
    source = "scalars_at"
    guarded = ("_steps", "schedule")
    what = "updates"
    hint = "take what changes from step to step from scalars(rate, step)"

    def dtype_of(self, owner: Any) -> Any:
        """The parameters' dtype."""
        return owner.store.data.dtype

    def scalars_at(self, owner: Any, count: int) -> list[tuple[Any, ...]]:
        """A tuple for each segment."""
        found: list[tuple[Any, ...]] = owner.scalars_at(count)
        return found


class StreamKeys(Table):
    """The keys of random streams' arrays."""

    kind = RandomStream
    source = "next_keys"
    guarded = ("_count",)
    what = "arrays"
    hint = "draw with uniform, which counts on in each replay"

    def dtype_of(self, owner: Any) -> Any:
        """Always uint32."""
        return np.dtype(np.uint32)

    def scalars_at(self, owner: Any, count: int) -> list[tuple[Any, ...]]:
        """One tuple, of two keys."""
        return [stream_keys(owner.seed, count)]

    def given(self, scalars: list[tuple[Array, ...]]) -> Any:
        """The pair of keys."""
        return scalars[0]


class Unreadable:
    """Stands for a number that a captured step must not read: every use of it raises an error.

    Only adding to it in place is allowed; the host advances counters after a replay.
    """

    def __init__(self, owner: Any, table: Table) -> None:
        vars(self)["_why"] = (
            f"{type(owner).__name__}: its count or rate was read while a step is captured, which "
            f"would keep it for ever; {table.hint}"
        )

    def __iadd__(self, _: object) -> Unreadable:
        return self

    def _refuse(self, *_: Any) -> Any:
        raise RuntimeError(vars(self)["_why"])


for _name in """abs add and array bool call complex divmod eq float floor floordiv format ge getattr
getitem gt hash index int invert iter le lt mod mul ne neg or pos pow radd rand rdivmod repr
rfloordiv rmod rmul ror round rpow rshift rsub rtruediv str sub truediv trunc xor""".split():  # noqa: SIM905
    setattr(Unreadable, f"__{_name}__", Unreadable._refuse)
