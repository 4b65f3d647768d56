"""Which counter a step's questions follow, and that a recorded step asks the same ones."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from minibnn.backend import CPU, Question
from minibnn.training.host_state import Counter
from minibnn.training.step_numbers import CannotRecord, NumberTables, Series, find_series

FLOAT = np.dtype(np.float32)


def question(count, size=1):
    return Question(lambda count: (float(count),) * size, count, FLOAT, size)


def find(first, second, ahead=0, stride=1):
    """The series of one question, beside a counter that a step moves by `stride`."""
    counter = Counter(SimpleNamespace(n=5 + stride), "n")
    begins = [SimpleNamespace(counts=[(counter, 5 + k * stride)]) for k in (0, 1)]
    return counter, find_series([[question(first + 5)], [question(second + 5)]], begins)


@pytest.mark.parametrize(("stride", "ahead"), [(1, 0), (3, 0), (3, 2)])
def test_a_question_follows_the_counter_that_it_is_asked_by(stride, ahead):
    counter, (series,) = find(ahead, ahead + stride, stride=stride)
    assert (series.stride, series.follows) == (stride, [(counter, ahead)])
    assert series.next_count() == 5 + stride + ahead


@pytest.mark.parametrize(("stride", "ahead"), [(1, 1), (1, -1), (3, 3), (3, -1)])
def test_a_count_of_another_step_is_not_the_counters(stride, ahead):
    with pytest.raises(CannotRecord, match="by a count that is not an optimiser's"):
        find(ahead, ahead + stride, stride=stride)


def test_a_recorded_step_asks_for_as_many_numbers():
    counter = Counter(SimpleNamespace(n=0), "n")
    series = [Series(question(0), 1, [(counter, 0)])]
    for size, dtype in ((2, FLOAT), (1, np.dtype(np.uint32))):
        tables = NumberTables(CPU, FLOAT, 4, series)
        with pytest.raises(CannotRecord, match="other numbers than the one before"):
            tables.answer(lambda count, size=size: (0.0,) * size, 0, dtype)
    tables = NumberTables(CPU, FLOAT, 4, series)
    tables.fill(1)
    assert tables.float_table[1:].ravel().tolist() == [0, 1, 2]
    assert len(tables.answer(lambda count: (0.0,), 0, FLOAT)) == 1
