"""Schedules: learning rates as functions of the number of updates.

An optimiser takes a number or a schedule, which it calls before each update. `t` counts from 0.
`PerEpoch` makes a schedule count epochs instead of updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from minibnn.checks import integer, number
from minibnn.state import State, has_state

Schedule: TypeAlias = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """``rate(t) = value``."""

    value: float

    def __post_init__(self) -> None:
        _positive(self, "value")

    def __call__(self, t: int) -> float:
        """The rate."""
        return self.value


@dataclass(frozen=True)
class Exponential:
    """``rate(t) = start (end / start)^(t / length)``, then `end`.

    >>> [round(Exponential(1.0, 0.01, length=2)(t), 4) for t in range(4)]
    [1.0, 0.1, 0.01, 0.01]
    """

    start: float
    end: float
    length: int

    def __post_init__(self) -> None:
        _positive(self, "start", "end")
        _count(self, "length")

    def __call__(self, t: int) -> float:
        """The rate after `t` updates."""
        part = min(t / self.length, 1.0)
        return self.start * math.pow(self.end / self.start, part)


@dataclass(frozen=True)
class Cosine:
    """``rate(t) = end + (start - end) (1 + cos(pi t / length)) / 2``, then `end`.

    Reference: Loshchilov and Hutter 2016, arXiv:1608.03983, equation 5, without restarts.

    >>> [round(Cosine(1.0, 0.0, length=4)(t), 4) for t in range(6)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]
    """

    start: float
    end: float
    length: int

    def __post_init__(self) -> None:
        _positive(self, "start")
        _count(self, "length")
        object.__setattr__(self, "end", number("Cosine", "end", self.end))
        if not 0 <= self.end < math.inf:
            raise ValueError(f"Cosine: expected end of at least 0, got {self.end}")

    def __call__(self, t: int) -> float:
        """The rate after `t` updates."""
        part = min(t / self.length, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * part)) / 2


class _Around:
    """The state of a schedule that has another one inside."""

    schedule: Any

    def state(self) -> State:
        """The state of the schedule inside, if it has one; see `minibnn.state`."""
        return self.schedule.state() if has_state(self.schedule) else {}

    def restore(self, state: State) -> None:
        """Put a state back."""
        if has_state(self.schedule):
            self.schedule.restore(state)


@dataclass(frozen=True)
class PerEpoch(_Around):
    """A schedule that counts epochs: the rate is constant within one.

    >>> rate = PerEpoch(Exponential(1.0, 0.01, length=2), steps_per_epoch=3)
    >>> [round(rate(t), 4) for t in range(7)]
    [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01]
    """

    schedule: Schedule
    steps_per_epoch: int

    def __post_init__(self) -> None:
        require_schedule("PerEpoch", "schedule", self.schedule)
        _count(self, "steps_per_epoch")

    def __call__(self, t: int) -> float:
        """The rate after `t` updates."""
        return self.schedule(t // self.steps_per_epoch)


@dataclass(frozen=True)
class WarmUp(_Around):
    """A schedule that starts low: the rate grows in equal steps to the schedule's first one.

    .. equations::

        rate(t) = schedule(0) (t + 1) / (length + 1)    for t < length
        rate(t) = schedule(t - length)                  from then on

    Large steps are taken only once the moments and batch norm's statistics are known. To count
    epochs, write ``PerEpoch(WarmUp(...), steps_per_epoch)``.

    Args:
        schedule: what follows: a schedule, or a number.
        length: the number of updates with a lower rate.

    Reference: Goyal et al. 2017, arXiv:1706.02677, section 2.2, gradual warm-up.

    >>> rate = WarmUp(Cosine(1.0, 0.0, length=2), length=3)
    >>> [round(rate(t), 4) for t in range(7)]
    [0.25, 0.5, 0.75, 1.0, 0.5, 0.0, 0.0]
    """

    schedule: Schedule
    length: int

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            value = number("WarmUp", "schedule", self.schedule)
            object.__setattr__(self, "schedule", Constant(value))
        require_schedule("WarmUp", "schedule", self.schedule)
        _count(self, "length")

    def __call__(self, t: int) -> float:
        """The rate after `t` updates."""
        if t >= self.length:
            return self.schedule(t - self.length)
        return self.schedule(0) * (t + 1) / (self.length + 1)


def require_schedule(who: str, name: str, schedule: Any) -> Schedule:
    """Return `schedule`, or raise TypeError unless it can be called with a number of updates."""
    if isinstance(schedule, type) or not callable(schedule):
        got = f"the class {schedule.__name__}" if isinstance(schedule, type) else repr(schedule)
        raise TypeError(
            f"{who}: expected {name} to be a function of the number of updates, got {got}; write "
            "an object such as Cosine(0.01, 0.0, length=1000), or Constant(0.01)"
        )
    known: Schedule = schedule
    return known


def rate_of(who: str, name: str, schedule: Schedule, t: int, most: float) -> float:
    """The rate that a schedule returns after `t` updates, checked.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is negative, nan, infinite or beyond `most`.
    """
    rate = schedule(t)
    if type(rate) is not float:
        rate = float(number(who, f"{name} (from {schedule!r} after {t} updates)", rate))
    if not 0 <= rate <= most or rate == math.inf:
        upper = "" if most == math.inf else f" and at most {most:g}"
        raise ValueError(
            f"{who}: expected {name} of at least 0{upper}, got {rate} from {schedule!r} after {t} "
            "updates; look at how it goes on, and hold it at its last value with min or max"
        )
    return rate


def _positive(schedule: Any, *names: str) -> None:
    who = type(schedule).__name__
    for name in names:
        value = number(who, name, getattr(schedule, name))
        if not 0 < value < math.inf:
            raise ValueError(f"{who}: expected a positive {name}, got {value}")
        object.__setattr__(schedule, name, value)


def _count(schedule: Any, name: str) -> None:
    who = type(schedule).__name__
    count = integer(who, name, getattr(schedule, name))
    if count < 1:
        raise ValueError(f"{who}: expected a positive {name}, got {count}")
    object.__setattr__(schedule, name, count)
