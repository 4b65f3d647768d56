"""Parts of a batch in one process: one at a time, each up to the next sum."""

from __future__ import annotations

import contextvars
import threading

import numpy as np
import pytest

from minibnn.distributed.turns import Turns

SECONDS = 20  # nothing here takes a thousandth of it


def in_time(function):
    """Run a function that might wait for ever; what it raised."""
    raised = []

    def work():
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "it hangs"
    return raised[0] if raised else None


def run(turns, *parts):
    """Run parts, each of which is called with a function that adds up over all of them."""
    count = len(parts)

    def add_up(number, value):
        return turns.add_up(number, count, np.asarray(value), sum)

    work = [lambda i=i, part=part: part(lambda v: add_up(i, v)) for i, part in enumerate(parts)]
    return in_time(lambda: turns.run(work))


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_all_parts_get_each_sum(count):
    sums = {i: [] for i in range(count)}

    def part(i):
        def compute(add_up):
            for step in range(3):
                sums[i].append(add_up(10**step * (i + 1)))

        return compute

    assert run(Turns(count), *map(part, range(count))) is None
    total = count * (count + 1) // 2
    assert list(sums.values()) == [[total, 10 * total, 100 * total]] * count


def test_one_part_runs_at_a_time_in_their_order():
    seen, running = [], threading.Lock()

    def part(i):
        def compute(add_up):
            for step in range(3):
                assert running.acquire(blocking=False)
                seen.append((step, i))
                running.release()
                add_up(i)

        return compute

    assert run(Turns(4), *map(part, range(4))) is None
    assert seen == [(step, i) for step in range(3) for i in range(4)]


def test_it_can_be_used_again_with_fewer_parts():
    turns, got = Turns(4), []
    for count in (4, 2, 1, 3):
        parts = [lambda add_up, i=i: got.append(add_up(i)) for i in range(count)]
        assert run(turns, *parts) is None
    assert got == [6] * 4 + [1] * 2 + [0] + [3] * 3


def test_more_parts_than_it_was_made_for():
    error = run(Turns(2), *[lambda add_up: None] * 3)
    assert str(error) == "Turns: expected at most 2 functions, got 3"


def test_parts_that_add_up_other_things():
    error = run(Turns(2), lambda add_up: add_up([1, 2]), lambda add_up: add_up([[1, 2]]))
    assert "got others in one of them" in str(error)


@pytest.mark.parametrize("failing", range(4))
@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_error_in_one_part_ends_all(failing, after):
    turns = Turns(4)

    def part(i):
        def compute(add_up):
            for step in range(3):
                if (i, step) == (failing, after):
                    raise KeyError(i)
                add_up(i)

        return compute

    error = run(turns, *map(part, range(4)))
    assert isinstance(error, KeyError)
    assert error.args == (failing,)
    assert run(turns, *[lambda add_up: add_up(1)] * 4) is None  # and it can go on


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_is_no_exception_is_raised_as_well(kind):
    def ends(add_up):
        raise kind(3)

    assert isinstance(run(Turns(3), lambda add_up: add_up(1), ends, lambda add_up: add_up(1)), kind)


def test_an_error_of_the_sum_itself():
    turns = Turns(3)

    def fail(arrays):
        raise ZeroDivisionError

    work = [lambda i=i: turns.add_up(i, 3, np.asarray(i), fail) for i in range(3)]
    assert isinstance(in_time(lambda: turns.run(work)), ZeroDivisionError)


@pytest.mark.parametrize(
    "counts", [(1, 2, 2), (2, 1, 2), (2, 2, 1), (0, 1, 1), (1, 1, 0), (3, 1, 1)]
)
def test_parts_that_add_up_another_number_of_times(counts):
    """Neither a wait for ever nor an old sum."""

    def part(count):
        def compute(add_up):
            for _ in range(count):
                add_up(1)

        return compute

    error = run(Turns(3), *map(part, counts))
    assert isinstance(error, RuntimeError)
    assert "expected each of 3 parts of a batch to add up the same things" in str(error)
    assert "call over_whole_batch whatever the values of the samples are" in str(error)


def test_parts_have_the_callers_context():
    """NumPy's errstate is one."""
    variable = contextvars.ContextVar("variable", default="none")
    seen = []
    variable.set("mine")
    turns = Turns(2)
    with np.errstate(over="raise"):
        turns.run([lambda: seen.append((variable.get(), np.geterr()["over"]))] * 2)
    assert seen == [("mine", "raise")] * 2
