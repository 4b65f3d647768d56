"""The scalars that change from step to step, for a whole epoch in advance.

An optimiser's are a function of its count of updates, and a random stream's keys of its count of
arrays. Two plain steps show by how much each count grows in a step. So the scalars of all steps can
be written down, and a captured step finds its own on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minibnn.backend import Array, Backend
from minibnn.optimizers import Optimizer, OptimizerGroup
from minibnn.optimizers.base import FlatOptimizer
from minibnn.random_stream import RandomStream, stream_keys
from minibnn.training.capture.host_state import Counter, HostState

# What an optimiser must leave as it is, or its own way to a step would be passed by.
STEPPING = ("step", "next_scalars", "scalars_at", "end_step")
HINTS = {
    FlatOptimizer: "take what changes from step to step from scalars(rate, step)",
    RandomStream: "draw with uniform, which counts on in each replay",
}


class CannotCapture(Exception):  # noqa: N818  # no error: training goes on without a capture
    """This step cannot be captured; the message says why."""


def flat_optimizers(optimizer: Optimizer) -> list[FlatOptimizer]:
    """The optimisers that a step drives, in the order of their scalars.

    Raises:
        CannotCapture: for one that makes its steps in a way of its own.
    """
    kind = OptimizerGroup if isinstance(optimizer, OptimizerGroup) else FlatOptimizer
    if not isinstance(optimizer, kind):
        raise CannotCapture(f"{type(optimizer).__name__} is no FlatOptimizer")
    for name in STEPPING:
        ours = getattr(getattr(optimizer, name, None), "__func__", None)
        if ours is not getattr(kind, name, None):
            raise CannotCapture(f"{type(optimizer).__name__} has a {name}() of its own")
    if isinstance(optimizer, OptimizerGroup):
        return [flat for member in optimizer.optimizers for flat in flat_optimizers(member)]
    return [optimizer]


def growth(
    states: Sequence[HostState], optimizers: Sequence[FlatOptimizer]
) -> list[tuple[Counter, int]]:
    """By how much each counter grows in a step.

    Args:
        states: before a step, after it, and after another one.
        optimizers: those that make one update in a step; others may make none.

    Raises:
        CannotCapture: if a counter grows otherwise, or was not there from the beginning.
    """
    first, second, third = (state.counts for state in states)
    if [counter for counter, _ in first] != [counter for counter, _ in second]:
        raise CannotCapture("the first step made an optimiser or a RandomStream, not there before")
    found = []
    for (counter, a), (_, b), (_, c) in zip(first, second, third, strict=True):
        who = type(counter.owner).__name__
        if b - a != c - b:
            raise CannotCapture(f"{who}: its count grew by {b - a} in a step, then by {c - b}")
        made = any(counter.owner is optimizer for optimizer in optimizers)
        if isinstance(counter.owner, FlatOptimizer) and c - b != made:
            raise CannotCapture(f"{who} makes {c - b} updates in a step, expected {int(made)}")
        found.append((counter, c - b))
    return found


class Scalars:
    """The scalars of all steps of an epoch, in tables on the device.

    Args:
        backend: where.
        dtype: the parameters'.
        steps: how many an epoch has.
        optimizers: whose scalars a step takes, in this order.
        growth: of their counts and those of random streams in a step.

    Attributes:
        views: of `floats`, a tuple of 0-d arrays for each segment of all optimisers.
        floats: (n,), the optimisers' scalars in the step that runs.
        float_table: (steps, n).
        keys: uint32 (k,), the streams' keys in the step that runs.
        key_table: uint32 (steps, k).
    """

    def __init__(
        self,
        backend: Backend,
        dtype: Any,
        steps: int,
        optimizers: Sequence[FlatOptimizer] = (),
        growth: Sequence[tuple[Counter, int]] = (),
    ) -> None:
        self._backend = backend
        self.optimizers = optimizers
        self._streams = [(c.owner, draws) for c, draws in growth if type(c.owner) is RandomStream]
        for counter, _ in growth:
            owner = counter.owner
            if isinstance(owner, RandomStream) and type(owner) is not RandomStream:
                raise CannotCapture(f"{type(owner).__name__} may draw in a way of its own")
        if any(optimizer.store.data.dtype != dtype for optimizer in optimizers):
            raise CannotCapture(f"an optimiser's parameters are not of the model's {dtype}")
        row = self._float_row(0)
        sizes = sum(map(len, row)), 2 * sum(draws for _, draws in self._streams)
        zeros = backend.xp.zeros
        self.floats, self.float_table = zeros(sizes[0], dtype), zeros((steps, sizes[0]), dtype)
        self.keys, self.key_table = zeros(sizes[1], np.uint32), zeros((steps, sizes[1]), np.uint32)
        places = iter(range(sizes[0]))
        self.views = [tuple(self.floats[next(places)] for _ in part) for part in row]

    def fill(self, done: int) -> None:
        """Write down the scalars of an epoch's steps from number `done` on, which is the next."""
        for table, row in ((self.float_table, self._flat_floats), (self.key_table, self._key_row)):
            if table.size:
                rows = np.zeros(table.shape, table.dtype)
                for step in range(done, len(rows)):
                    rows[step] = row(step - done)
                table[...] = self._backend.asarray(rows)

    def _float_row(self, ahead: int) -> list[tuple[float, ...]]:
        """The optimisers' scalars so many steps from now, a tuple for each segment."""
        return [part for o in self.optimizers for part in o.scalars_at(o.steps + ahead)]

    def _flat_floats(self, ahead: int) -> list[float]:
        return [number for part in self._float_row(ahead) for number in part]

    def _key_row(self, ahead: int) -> list[np.uint32]:
        """The streams' keys so many steps from now."""
        return [
            key
            for stream, draws in self._streams
            for i in range(draws)
            for key in stream_keys(stream.seed, stream.count + ahead * draws + i)
        ]

    @contextmanager
    def from_tables(self) -> Iterator[None]:
        """While entered, a step takes its scalars from the device.

        Streams give the keys that lie there. Nobody can read a counter, or a rate, which would stay
        in a captured step what it is at this moment.

        Raises:
            CannotCapture: if the step draws otherwise than expected, or sets a counter.
        """
        guarded = [(o, name) for o in self.optimizers for name in ("steps", "schedule")]
        guarded += [(stream, "_count") for stream, _ in self._streams]
        kept = [vars(owner)[name] for owner, name in guarded]
        guards = [Unreadable(owner) for owner, _ in guarded]
        places = iter(range(0, self.keys.size, 2))
        left = []
        try:
            for (owner, name), guard in zip(guarded, guards, strict=True):
                vars(owner)[name] = guard
            for stream, draws in self._streams:
                left.append([next(places) for _ in range(draws)])
                stream.next_keys = self._giver(left[-1])
            yield
            found = [vars(owner)[name] for owner, name in guarded]
        finally:
            for (owner, name), value in zip(guarded, kept, strict=True):
                vars(owner)[name] = value
            for stream, _ in self._streams:
                vars(stream).pop("next_keys", None)
        if any(left):
            raise CannotCapture("RandomStream: a step draws fewer arrays than the one before")
        for guard, value in zip(guards, found, strict=True):
            if value is not guard:
                raise CannotCapture(f"{type(guard.owner).__name__}: a step sets its count or rate")

    def _giver(self, places: list[int]) -> Callable[[], tuple[Array, Array]]:
        """A stream's `next_keys`: those on the device, one pair after the other."""

        def next_keys() -> tuple[Array, Array]:
            if not places:
                raise CannotCapture("RandomStream: a step draws more arrays than the one before")
            place = places.pop(0)
            return self.keys[place], self.keys[place + 1]

        return next_keys


class Unreadable:
    """In the place of a number that a captured step must not read: every use of it is an error.

    Attributes:
        owner: of the number.
    """

    def __init__(self, owner: FlatOptimizer | RandomStream) -> None:
        self.owner = owner

    def _refuse(self, *_: Any, **__: Any) -> Any:
        what, hint = next((kind, h) for kind, h in HINTS.items() if isinstance(self.owner, kind))
        read = "its count was" if what is RandomStream else "its steps or rate were"
        raise RuntimeError(
            f"{type(self.owner).__name__}: {read} read while a step is captured, which would keep "
            f"what it is for ever; {hint}"
        )


for _name in (
    "abs add and array bool call complex divmod eq float floor floordiv format ge getitem gt hash "
    "index int invert iter le lt mod mul ne neg or pos pow radd rand rdivmod repr rfloordiv rmod "
    "rmul ror round rpow rshift rsub rtruediv str sub truediv trunc xor"
).split():
    setattr(Unreadable, f"__{_name}__", Unreadable._refuse)
