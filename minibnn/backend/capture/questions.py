"""What a training step asks the host for, step by step: learning rates, keys of random numbers.

`Backend.numbers` answers from the host as a rule. Who wants to know what is asked, or to answer
from a device, puts a `Questions` in charge for a while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.backend.capture.kept_signs import KeptSigns

_charge = threading.local()  # two threads that train must not answer each other's questions


@dataclass(frozen=True)
class Question:
    """One call of `Backend.numbers`."""

    values: Callable[[int], tuple[Any, ...]]
    count: int
    dtype: np.dtype[Any]
    size: int


class Questions:
    """Notes what is asked, and answers as always.

    Attributes:
        recording: whether a step is recorded, whose numbers are not those of this moment.
        asked: the questions so far, in order.
        signs: signs of weights that lie ready, for backends that keep them.
    """

    recording = False

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.signs: KeptSigns | None = None

    def answer(
        self, values: Callable[[int], tuple[Any, ...]], count: int, dtype: Any
    ) -> tuple[Any, ...]:
        """The numbers, which are noted."""
        numbers = values(count)
        self.asked.append(Question(values, count, np.dtype(dtype), len(numbers)))
        return numbers

    @contextmanager
    def in_charge(self) -> Iterator[None]:
        """While entered, `Backend.numbers` asks this object, on this thread."""
        before = questions()
        _charge.questions = self
        try:
            yield
        finally:
            _charge.questions = before


def questions() -> Questions | None:
    """Who is in charge on this thread, if anybody."""
    return getattr(_charge, "questions", None)
