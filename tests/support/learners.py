"""Answers of learners to exercise 1.2, as texts of files."""

from __future__ import annotations

from minibnn.learn.exercise import find
from minibnn.learn.starter import starter, without_marks

LOGISTIC = find("1.2")
RIGHT = without_marks(LOGISTIC.solution)
BLANK = starter(LOGISTIC)
HOLE = "...  # TODO: the first equation"


def answer(logistic, logit="np.log(p / (1 - p))"):
    """A file whose functions return these expressions, or have these lines."""
    text = BLANK
    for hole, code in ((HOLE, logistic), ("...  # TODO: the second equation", logit)):
        indented = code.replace("\n", "\n    ")
        text = text.replace(f"return {hole}" if "\n" in code else hole, indented)
    return text


WRONG_SIGN = answer("1 / (1 + np.exp(z))")
