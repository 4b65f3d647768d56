"""The checks that exercises are written with."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import Function, Identity
from minibnn.learn.author import (
    Agrees,
    Answer,
    CatchesMutants,
    Check,
    Differences,
    LayerGradients,
    Probe,
    Shapes,
    central_differences,
    mistake,
    parts,
)


def double(x):
    return 2 * x


def told(check, function):
    """The points and the words for a function."""
    right, got = check.expected(), check.outcome(function)
    return check.score(right, got), check.wrong(right, got)


ARRAY = np.array([1.0, -2.0, 4.0])


def test_agrees():
    check = Agrees(double, [1.0, ARRAY], "twice", points=3)
    assert told(check, double) == (3, "")
    points, words = told(check, lambda x: 3 * x)
    assert points == 0
    assert words == (
        "double(x=1)\n  expected  2\n  got       3\nEvery number is 1.5 times the right one."
    )
    assert told(check, lambda x: 1 / 0)[1].startswith("double(x=1)\nZeroDivisionError")


def test_an_argument_that_is_changed_is_told():
    def in_place(x):
        x *= 2
        return x

    points, words = told(Agrees(double, [ARRAY], "twice"), in_place)
    assert points == 0
    assert words.startswith("double changes its argument x in place.")
    assert ARRAY[0] == 1

    check = Agrees(in_place, [ARRAY], "twice", in_place=True)
    assert told(check, in_place) == (1, "")
    points, words = told(check, double)
    assert points == 0
    assert words.startswith("x after in_place(x=[1, -2, 4])")


def test_an_argument_that_is_changed_costs_the_first_part_alone():
    def both(x):
        return 2 * x, x.sum()

    def in_place(x):
        total = x.sum()
        x *= 2
        return x, total

    twice, total = parts(both, [ARRAY], "twice total")
    assert told(twice, in_place)[1].startswith("both changes its argument x in place.")
    assert told(total, in_place) == (1, "")


def test_equal_calls_are_told_apart():
    check = Agrees(double, [np.zeros((3, 3)), np.ones((3, 3))], "twice")
    assert list(check.expected()) == [
        "double(x of shape (3, 3))",
        "double(x of shape (3, 3)), call 2",
    ]


def test_parts_are_checked_one_by_one():
    def sum_and_product(a, b):
        return a + b, a * b

    total, product = parts(sum_and_product, [(2.0, 3.0)], "total product", points=2)
    assert (total.title, total.points) == ("total of sum_and_product", 2)
    half_right = lambda a, b: (a + b, 0.0)  # noqa: E731
    assert told(total, half_right) == (2, "")
    assert told(product, half_right)[1].startswith("product of sum_and_product(a=2, b=3)\n")
    for wrong in (lambda a, b: a + b, lambda a, b: (1, 2, 3)):
        assert "expected `return total, product`" in told(product, wrong)[1]
    # An error is the same for all parts, and is told in the same words.
    assert told(total, lambda a, b: 1 / 0)[1] == told(product, lambda a, b: 1 / 0)[1]


def test_shapes():
    check = Shapes(lambda x: (x, x.T), [np.zeros((2, 3))], "shapes", returns="a b")
    check.name = "f"
    assert told(check, lambda x: (x + 1, x.T - 1)) == (1, "")
    assert told(check, lambda x: [x + 1, x.T - 1]) == (1, "")
    assert told(check, lambda x: (x, x))[1] == (
        "f(x)\n  x         [[0, 0, 0],\n             [0, 0, 0]]\n"
        "b: expected shape (3, 2), got shape (2, 3)."
    )
    assert told(check, lambda x: (x, 1.0))[1].endswith("got a single number.")
    assert told(check, lambda x: (x, x, x))[1].endswith("got 3 values.")
    one = Shapes(double, [np.zeros(2)], "shape")
    assert told(one, lambda x: x[:1])[1] == "double(x=[0, 0])\nexpected shape (2,), got shape (1,)."
    assert told(check, lambda x: (x, None))[1].endswith("b: expected shape (3, 2), got None.")
    assert told(check, lambda x: x)[1].endswith("expected a tuple of 2 values, got one value.")
    assert "ZeroDivisionError" in told(check, lambda x: 1 / 0)[1]
    assert "returns None" in told(check, lambda x: None)[1]


def test_differences():
    def gradient(x):
        return 2 * x

    check = Differences(gradient, lambda x: (x**2).sum(), "x", [ARRAY], "the gradient")
    assert told(check, gradient) == (1, "")
    points, words = told(check, lambda x: x)
    assert points == 0
    assert words.endswith(
        "Every number is 0.5 times the right one.\n(expected: central differences)"
    )
    with_bias = Differences(
        gradient, lambda x, b: (x**2).sum() + 3 * b.sum(), "b", [ARRAY], "b",
        at=lambda x: (x, np.zeros(1)),
    )  # fmt: skip
    assert told(with_bias, lambda x: np.array([3.0])) == (1, "")
    assert central_differences(lambda x, a: a * (x**3).sum(), (ARRAY, 2.0), 0) == pytest.approx(
        6 * ARRAY**2
    )


def test_a_probe_sees_what_it_measures():
    check = Probe(double, lambda f: {"at one": f(1.0), "at two": f(2.0)}, "twice", tolerance=0.1)
    assert told(check, lambda x: 2.1 * x) == (1, "")
    assert told(check, lambda x: 2.0 if x == 1 else 5.0)[1].startswith("at two\n  expected  4\n")
    assert told(check, lambda x: x + "1")[1].startswith("double\nTypeError")
    missing = Probe(double, lambda f: {"one": 1} if f is double else {}, "keys")
    assert told(missing, lambda x: x) == (0, "one is missing.")


def test_a_probe_says_where_an_error_is_raised():
    check = Probe(double, lambda f: {"one more": f(1.0) + 1}, "twice")
    outside = "(Outside your code, where the check calls double or uses what it gives.)"
    learner = {}
    text = "def nothing(x):\n    pass\ndef fails(x):\n    return x + '1'\n"
    exec(compile(text, "learner.py", "exec"), learner)
    assert told(check, learner["nothing"])[1].endswith(outside)
    assert told(check, learner["fails"])[1].splitlines()[-1].startswith("  line 4, in fails")


class Square(Function):
    """y = x * x."""

    def forward(self, x):
        return x * x

    def backward(self, dy, x):
        return 2 * x * dy


class WrongSquare(Square):
    """The gradient lacks its factor."""

    def backward(self, dy, x):
        return x * dy


def test_a_layer_is_checked_by_check_gradients():
    x = np.random.default_rng(0).normal(size=(4, 3))
    check = LayerGradients(Square, lambda Own: Own(), x, "gradients")
    assert told(check, Square) == (1, "")
    points, words = told(check, WrongSquare)
    assert points == 0
    assert words.startswith("check_gradients finds:\n  x at (")
    assert "\nThe cause, probably: off by the constant factor 0.5." in words
    # Right by itself, but another function.
    words = told(check, Identity)[1]
    assert words.startswith("forward(x)\n")
    assert "\n  x         [[" in words  # to see what the numbers belong to
    assert told(check, lambda: 1 / 0)[1].startswith("Square\nZeroDivisionError")


def is_double(f):
    assert f(2) == 4
    assert f(3) == 6


def test_an_answer_is_not_given_away():
    def answer():
        return 42

    check = Answer(answer, "the answer")
    assert told(check, answer)[0] == 1
    points, words = told(check, lambda: 41)
    assert (points, words) == (0, "answer() gives 41, and that is not the answer.")
    assert told(check, lambda: 1 / 0)[1].startswith("answer()\nZeroDivisionError")
    assert "42" not in told(check, lambda: None)[1]
    assert "42" not in told(check, lambda: ...)[1]


def test_a_set_may_be_given_as_a_list_or_alone():
    check = Answer(lambda: {"b2"}, "which")
    for answer in ({"b2"}, frozenset({"b2"}), ["b2"], ("b2",), "b2"):
        assert told(check, lambda answer=answer: answer)[0] == 1
    assert told(check, lambda: ["b1", "b2"])[0] == 0
    assert told(check, lambda: [["b2"]])[0] == 0


def test_mutants():
    check = CatchesMutants(is_double, double, "test", points=4)
    check.mutants = {"the square": lambda x: x * x, "x": lambda x: x}
    assert told(check, is_double)[0] == 4

    def weak(f):
        assert f(2) == 4

    assert told(check, weak) == (
        2, "It catches 1 of 2 wrong implementations. These pass your test:\n  - the square",
    )  # fmt: skip

    def silent(f):
        return f(2) == 4 and f(3) == 6

    points, words = told(check, silent)
    assert (points, words.splitlines()[-1]) == (
        0, "A comparison that is printed or returned raises no error: assert it.",
    )  # fmt: skip

    def idle(function):
        assert double(2) == 4

    assert told(check, idle) == (
        0, "Your test never calls f, so nothing that is wrong in it can show.",
    )  # fmt: skip

    def always(f):
        raise AssertionError

    points, words = told(check, always)
    assert points == 0, "a test that fails for all catches nothing"
    assert words.startswith("The right implementation does not pass your test:\nAssertionError\n")


def test_a_mistake_has_words_for_the_learner():
    @mistake(double, "three times")
    def triple(x):
        """Not three
        times."""
        return 3 * x

    assert triple.learn_mistake.message == "Not three times."
    assert triple.learn_mistake.of == "double"
    with pytest.raises(ValueError, match="nothing: expected a docstring, which the learner reads"):

        @mistake(double, "nothing")
        def nothing(x):
            return x


def test_a_check_of_ones_own_defines_an_outcome():
    with pytest.raises(NotImplementedError):
        Check(double, "nothing").expected()
