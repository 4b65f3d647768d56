"""Cutting holes into solutions, and finding those that are left."""

from __future__ import annotations

import ast

import pytest

from minibnn.learn.exercise import find
from minibnn.learn.starter import cut_holes, holes_in, starter, without_marks

SOLUTION = '''import numpy as np


def f(x):
    """é, so that bytes and characters differ."""
    é = x + 1; y = é * 2  # hole
    z = (
        y
        + 1
    )  # hole: a longer one
    # hole: the loop
    for i in range(3):
        z += i
        # a comment inside
    # end of hole
    return (z)  # hole: what comes out
'''


def test_marked_places_become_holes():
    text = cut_holes(SOLUTION)
    assert "y = ...  # TODO\n" in text
    assert "    z = ...  # TODO: a longer one\n" in text
    assert "    ...  # TODO: the loop\n    return ...  # TODO: what comes out" in text
    assert "range" not in text
    assert "a comment inside" not in text
    ast.parse(text)
    assert holes_in(text) == {"f": [6, 7, 8, 9]}


def test_marks_vanish_from_the_solution_and_nothing_else_does():
    text = without_marks(SOLUTION)
    assert "hole" not in text
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(SOLUTION))
    assert "# a comment inside" in text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("# hole: a block\nx = 1", "line 1: expected # end of hole"),
        ("def f():\n    pass  # hole", "expected `name = value`"),
    ],
)
def test_wrong_marks_are_refused(source, said):
    with pytest.raises(ValueError, match=said):
        cut_holes(source)


@pytest.mark.parametrize(
    ("line", "is_hole"),
    [
        ("...", True),
        ("return ...", True),
        ("x = ...", True),
        ("self.x = ...", True),
        ("x: int = ...", True),
        ("x[...] = 1", False),
        ("return x[..., 0]", False),
        ("x = f(...)", False),
    ],
)
def test_which_dots_are_holes(line, is_hole):
    assert holes_in(f"def f(self, x):\n    if x:\n        {line}")["f"] == [3] * is_hole


def test_a_starter_says_what_to_do_and_how_to_check_it():
    text = starter(find("1.2"))
    doc = ast.get_docstring(ast.parse(text))
    assert doc.startswith("1.2  The logistic function and the logit\n\nA neuron's weighted sum")
    assert doc.endswith("Check it with:  python -m minibnn learn check 1.2")
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
