"""Comparing what functions give, and saying how it differs."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.learn.values import (
    Raised,
    Verdict,
    attempt,
    call_text,
    difference,
    likeness,
    names_of_arguments,
    same,
    short,
)


class Broken:
    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1.0, 1, True),
        (1.0, np.array(1.0), True),
        (np.array([1.0, 2.0]), [1, 2], True),
        (np.array([1.0]), 1.0, False),
        (np.zeros((2, 1)), np.zeros((1, 2)), False),
        ((1, np.zeros(2)), [1, np.zeros(2)], True),
        ((1, 2), (1, 2, 3), False),
        ([(1, np.zeros(2))], [(1, np.ones(2))], False),
        ({"a": np.nan}, {"a": np.nan}, True),
        ({"a": 1}, {"b": 1}, False),
        ("x", "x", True),
        ("x", 1, False),
        (None, None, True),
        (None, 0, False),
        (..., ..., True),
        ({"b2"}, {"b2"}, True),
        (Raised("a", ("line 1",)), Raised("a"), True),
        (Raised("a"), Raised("b"), False),
        (Verdict(True), Verdict(True, "x"), True),
        (Broken(), Broken(), False),
        (1.0, 1.0 + 5e-7, True),
        (1.0, 1.0 + 5e-6, False),
        (1e30, 10**30, True),
        (1e30, 10**400, False),
    ],
)
def test_same(a, b, equal):
    assert same(a, b, 1e-6) is equal
    assert same(b, a, 1e-6) is equal


def test_an_error_is_told_with_the_learners_lines_only():
    def inner(x):
        return np.linalg.inv(x)  # raises inside of NumPy

    def outer(x):
        return inner(x)

    got = attempt(outer, np.zeros((2, 2)))
    assert got.error == "numpy.linalg.LinAlgError: Singular matrix"
    assert [line.split(": ", 1)[1] for line in got.where] == [
        "return inner(x)", "return np.linalg.inv(x)  # raises inside of NumPy",
    ]  # fmt: skip


def test_a_recursion_is_told_once():
    def endless(x):
        return endless(x)

    assert len(attempt(endless, 1).where) == 1


def test_a_request_to_end_is_no_end():
    def ends():
        raise SystemExit(3)

    assert attempt(ends).error.startswith("SystemExit: the code asks Python to end")
    with pytest.raises(KeyboardInterrupt):  # the learner's own Ctrl-C, in a notebook
        attempt(_interrupted)


def _interrupted():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("right", "got", "words"),
    [
        (1.5, None, "returns None: is a `return` missing?"),
        (1.5, ..., "returns `...`: this hole is not filled yet."),
        (1.5, Raised("Oops: x", ("line 3, in f: x",)), "Oops: x\n  line 3, in f: x"),
        (np.zeros(2), np.zeros((2, 3)), "expected shape (2,), got shape (2, 3)."),
        (np.zeros(2), 0.0, "expected shape (2,), got a single number."),
        ((1, 2), 3, "expected a tuple of 2 values, got a number."),
        ((1, 2), (1, 2, 3), "expected a tuple of 2 values, got 3 values."),
        ((1, 2), (1,), "expected a tuple of 2 values, got one value."),
        (0.5, 10**30, "  expected  0.5\n  got       1e+30"),
        ((4, False), (6, False), "  expected  (4, False)\n  got       (6, False)"),
        ((4, False), [4, None], "  expected  (4, False)\n  got       (4, None)"),
        ((1.0, 2), (1.0000004, 3), "  expected  (1, 2)\n  got       (1, 3)"),
        (True, False, "  expected  True\n  got       False"),
        ("[(0, 2)]", "[(2, 0)]", "  expected  [(0, 2)]\n  got       [(2, 0)]"),
        (1.5, "1.5", "expected a number, got '1.5'."),
        ({"b2"}, {"b1"}, "expected {'b2'}, got {'b1'}."),
        (1.5, -1.5, "  expected  1.5\n  got       -1.5"),
        (np.eye(2), 2 * np.eye(2), "  expected  [[1, 0],\n             [0, 1]]\n"
         "  got       [[2, 0],\n             [0, 2]]"),
        (1.5, 1.5001, "  expected  1.5\n  got       1.5001"),
        (1.5, 1.50000008, "  expected  1.5\n  got       1.5\n  (They differ by up to 8.0e-08.)"),
        (np.zeros(30), np.eye(1, 30, 7)[0], "1 of 30 numbers differ, the first of them at [7]:\n"
         "  expected  0\n  got       1"),
    ],
)  # fmt: skip
def test_a_difference_in_words(right, got, words):
    assert difference("f(x)", right, got, 1e-6) == f"f(x)\n{words}"


def test_a_difference_of_tuples_with_arrays_is_that_of_the_first_wrong_value():
    right, got = (np.zeros(2), 1.0, np.ones(2)), (np.zeros(2), 1.0, np.eye(2)[0])
    words = "f(x), value 3 of 3\n  expected  [1, 1]\n  got       [1, 0]"
    assert difference("f(x)", right, got, 1e-6) == words


_U = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]])


@pytest.mark.parametrize(
    ("right", "got", "words"),
    [
        (_U, _U.T, "It is the transpose of the right answer."),
        (_U, -_U, "Every number has the wrong sign."),
        (_U, _U / 4, "Every number is 0.25 times the right one."),
        (_U, _U + 1, "Every number is too large by 1."),
        (_U, _U - 0.5, "Every number is too small by 0.5."),
        (_U, 0 * _U, "Every number is 0."),
        (_U, np.where(_U == 1, 2e-11, 0.0), "Every number is nearly 0."),
        (_U, _U**2, ""),
        (_U, np.ones(2), ""),
        (1.0, 2.0, ""),
        (_U > 2, np.zeros((2, 3), bool), ""),
        (_U, _U * np.nan, ""),
        (_U, None, ""),
    ],
)
def test_a_likeness_in_words(right, got, words):
    assert likeness({"f(x)": right}, {"f(x)": got}, 1e-6) == words


def test_a_likeness_holds_for_all_cases():
    assert likeness({"a": _U, "b": 1.0}, {"a": -_U, "b": -1.0}, 1e-6)
    assert not likeness({"a": _U, "b": 1.0}, {"a": -_U, "b": 1.0}, 1e-6)
    assert not likeness({"a": _U, "b": 1.0}, {"a": -_U}, 1e-6)


def test_calls_and_values_as_text():
    assert call_text("f", {"x": np.array([1.0, -0.0]), "b": 0.25}) == "f(x=[1, 0], b=0.25)"
    assert call_text("f", {"x": np.zeros((4, 3)), "b": [1]}) == "f(x of shape (4, 3), b=[1])"
    assert call_text("f", {"x": np.eye(2)}) == "f(x)\n  x         [[1, 0],\n             [0, 1]]"
    assert short((1.0, np.float64(2))) == "(1, 2)"
    assert short(np.array(3)) == "3"
    assert short(np.array([[1.0, -2.5], [0.125, 1e-7]])) == "[[    1,  -2.5],\n [0.125, 1e-07]]"
    assert short(np.array([[True, False]])) == "[[ True, False]]"
    assert short(np.zeros((0, 3))) == "[]"
    assert short(np.zeros(100)) == "array of shape (100,)"
    assert short(len) == "len"
    assert len(short("x" * 200)) <= 60
    assert names_of_arguments(lambda a: a, 2) == ["a", "argument 2"]


class Unshowable:
    """As a learner's class may be, whose attributes `__repr__` wants too early."""

    def __repr__(self):
        raise RuntimeError("not ready")


class Uncountable(float):
    def __float__(self):
        raise RuntimeError("not ready")

    def __format__(self, spec):
        raise RuntimeError("not ready")


@pytest.mark.parametrize(
    "value", [Unshowable(), [Unshowable()], {"a": Unshowable()}, Uncountable()]
)
def test_values_that_cannot_be_shown(value):
    assert " that cannot be shown" in short(value)
    assert "f(1)\nexpected " in difference("f(1)", 2.0, value, 1e-6)
    assert not same(2.0, value, 1e-6)


def test_long_messages_are_shortened():
    def fails(text):
        raise ValueError(text)

    one = attempt(fails, "x" * 100_000)
    assert len(str(one)) < 500
    assert one.error.startswith("ValueError: xxx")
    assert one.error.endswith("x ...")
    many = attempt(fails, "line\n" * 100_000)
    assert many.error.splitlines() == ["ValueError: line", *["line"] * 15, "..."]
    assert len(difference("f(1)", "a", "b" * 100_000, 1e-6)) < 500
