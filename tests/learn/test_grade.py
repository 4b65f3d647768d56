"""Grading answers beside the reference and the typical mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from learners import LOGISTIC

from minibnn.learn.exercise import find
from minibnn.learn.grade import DAMAGED, Grader, with_others


@pytest.fixture(scope="module")
def grader():
    return Grader(LOGISTIC)


def right_logit(p):
    return np.log(p / (1 - p))


def lines(grader, holes=None, **functions):
    return list(grader.grade(functions, holes))


def test_a_wrong_answer_has_the_name_of_the_mistake_it_equals(grader):
    def roundabout(z):  # other code than the mistake's, the same values
        return 1 - 1 / (1 + np.exp(-z))

    first, second = lines(grader, logistic=roundabout, logit=right_logit)
    assert [name for name, _ in first.mistakes] == ["exp(z) in place of exp(-z)"]
    assert not first.ok
    assert second.ok


def test_another_wrong_answer_has_no_name(grader):
    first, _ = lines(grader, logistic=lambda z: z / 7, logit=right_logit)
    assert first.mistakes == ()
    assert "expected  0.5\n  got       0" in first.details


def test_a_function_that_is_missing_or_no_function_is_told(grader):
    first, second = lines(grader, logit=3)
    assert first.details.startswith("There is no function logistic here.")
    assert second.details.startswith("logit is no function any more")
    assert not first.done


def test_holes_are_told_by_their_lines(grader):
    first, second = lines(
        grader, {"logistic": [3, 5], "logit": [9]}, logistic=right_logit, logit=right_logit
    )
    assert (first.details, second.details) == (
        "`...` is left in lines 3, 5.",
        "`...` is left in line 9.",
    )
    assert first.points == second.points == 0


def test_a_function_is_checked_with_the_solution_of_the_others():
    """A mistake in one costs nothing in another that calls it."""
    grader = Grader(find("1.5"))
    names = {"np": np}
    exec(
        "def step(w, b, dw, db, learning_rate):\n"
        "    return w + learning_rate * dw, b + learning_rate * db\n"
        "def train(x, t, learning_rate, steps, *, begin=0.0):\n"
        "    w, b = np.full(x.shape[1], begin), 0.0\n"
        "    for _ in range(steps):\n"
        "        dz = 1 / (1 + np.exp(-(x @ w + b))) - t\n"
        "        w, b = step(w, b, x.T @ dz / len(t), dz.mean(), learning_rate)\n"
        "    return w, b\n",
        names,
    )
    found = list(grader.grade(names))
    assert [line.ok for line in found] == [False, False, True, True]
    assert names["train"](np.ones((1, 1)), np.ones(1), 1.0, 1)[0][0] == -0.5, "unchanged itself"


def test_what_is_no_plain_function_stays_as_it_is():
    assert with_others(np.exp, {"a": 1}) is np.exp


def test_warnings_of_the_answers_lines_are_kept():
    grader = Grader(LOGISTIC)
    lines(grader, logistic=lambda z: 1 / (1 + np.exp(-1000.0 * z)), logit=right_logit)
    (warning,) = grader.warnings
    assert warning.startswith("Line ")
    assert warning.endswith(" warns: overflow encountered in exp")


def test_an_answer_that_damages_numpy_is_not_given_the_name_of_a_mistake(grader, monkeypatch):
    def damages(p):
        monkeypatch.setattr(np, "log", None)
        return np.log(p)

    _, second = lines(grader, logistic=find("1.2").functions["logistic"], logit=damages)
    monkeypatch.undo()
    assert (second.details, second.mistakes) == (DAMAGED, ())
