"""Learning rates that change: functions of how many updates were made.

An optimiser takes a number or one of these, and asks it before each update. `t` counts from 0.
A schedule over epochs instead of updates is wrapped in `PerEpoch`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Schedule: TypeAlias = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """``rate(t) = value``."""

    value: float

    def __post_init__(self) -> None:
        _check("Constant", value=self.value)

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
        _check("Exponential", start=self.start, end=self.end, length=self.length)

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
        _check("Cosine", start=self.start, length=self.length)
        if not 0 <= self.end < math.inf:
            raise ValueError(f"Cosine: expected end of at least 0, got {self.end}")

    def __call__(self, t: int) -> float:
        """The rate after `t` updates."""
        part = min(t / self.length, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class PerEpoch:
    """Let a schedule count epochs: the rate stays the same within one.

    >>> rate = PerEpoch(Exponential(1.0, 0.01, length=2), steps_per_epoch=3)
    >>> [round(rate(t), 4) for t in range(7)]
    [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01]
    """

    schedule: Schedule
    steps_per_epoch: int

    def __post_init__(self) -> None:
        _check("PerEpoch", steps_per_epoch=self.steps_per_epoch)

    def __call__(self, t: int) -> float:
        """The rate after `t` updates."""
        return self.schedule(t // self.steps_per_epoch)


def _check(who: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{who}: expected a positive {name}, got {value}")
