"""The history of a training, and the losses of its running epoch."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from minibnn.state_file import flatten, from_json, to_json, unflatten
from minibnn.training.progress import Progress

ROWS = [[0.1, 1 / 3, 1.0, 0.0], [math.pi, math.nan, 1e-300, -0.0]]


def progress(*rows):
    one = Progress(["a", "b", "c", "d"])
    for row in rows:
        one.add(row)
    return one


def through_a_file(state):
    arrays, rest = flatten(state)
    return unflatten({k: a.copy() for k, a in arrays.items()}, from_json(to_json(rest)))


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("losses", [[], [0.5, 1 / 3]])
def test_it_is_restored_to_the_same_bytes(rows, losses):
    one, other = progress(*ROWS[:rows]), progress([9, 9, 9, 9])
    with one.running(np.array(losses)):
        state = one.state()
    other.restore(through_a_file(state))
    assert np.array(other.rows).tobytes() == np.array(ROWS[:rows]).tobytes()
    assert other.losses.tobytes() == np.array(losses).tobytes()
    assert all(type(value) is float for row in other.rows for value in row)
    other.losses = np.zeros(0)
    pd.testing.assert_frame_equal(
        other.table(captured=False), one.table(captured=False), check_exact=True
    )


def test_losses_run_on_after_those_that_were_restored():
    one = progress()
    with one.running(np.array([1.0, 2.0])):
        state = one.state()
    assert len(one.losses) == 0  # they are those of the saved moment only
    one.restore(state)
    with one.running(np.array([3.0])):
        assert one.state()["losses"].tolist() == [1, 2, 3]
    with pytest.raises(ZeroDivisionError), one.running(np.array([3.0])):
        raise ZeroDivisionError
    assert one.losses.tolist() == [1, 2]
    one.add(ROWS[0])
    assert one.losses.tolist() == []
    assert one.state()["losses"] is None


def test_a_state_is_a_copy():
    one, other = progress(*ROWS), progress()
    with one.running(np.array([1.0])):
        state = one.state()
    other.restore(state)
    state["rows"][...] = state["losses"][...] = 7
    state["columns"].append("e")
    for each, losses in ((one, []), (other, [1])):
        assert each.rows[0] == ROWS[0]
        assert each.losses.tolist() == losses
        assert each.columns == ["a", "b", "c", "d"]
    with other.running(np.array([2.0])):
        other.state()["losses"][...] = 7
        assert other.losses.tolist() == [1, 2]
    other.state()["losses"][...] = 7
    assert other.losses.tolist() == [1]


def test_a_history_of_other_columns_changes_nothing_and_is_named():
    one = progress(ROWS[0])
    with pytest.raises(ValueError, match=r"a history of \['a', .*\], got one of \['a'\]; resume"):
        one.restore(Progress(["a"]).state())
    assert one.rows == ROWS[:1]


def test_the_table():
    table = progress(*ROWS).table(captured=True, interrupted=True)
    assert table.index.tolist() == [1, 2]
    assert table.index.name == "epoch"
    assert table.attrs == {"interrupted": True, "captured": True, "stopped": False}
    assert table.dtypes.tolist() == [float] * 4
    empty = progress().table(captured=False)
    assert list(empty.columns) == ["a", "b", "c", "d"]
    assert (len(empty), empty.attrs["interrupted"]) == (0, False)


@pytest.mark.parametrize(
    ("epochs", "steps", "text"),
    [
        (0, 0, "0 epochs"),
        (1, 0, "1 epoch"),
        (1, 1, "1 epoch and 1 step"),
        (0, 1234, "0 epochs and 1,234 steps"),
    ],
)
def test_as_text(epochs, steps, text):
    one = progress(*ROWS[:epochs])
    with one.running(np.zeros(steps)):
        assert str(one) == text
