"""Checks in a notebook, or wherever the learner's functions are at hand."""

from __future__ import annotations

import inspect
import os
import textwrap
from collections.abc import Callable
from typing import Any

from minibnn.learn.exercise import find
from minibnn.learn.grade import Grader
from minibnn.learn.isolate import check_file
from minibnn.learn.result import Result
from minibnn.learn.starter import holes_in


def check(exercise: str, *answers: Callable[..., Any] | str | os.PathLike[str]) -> Result:
    """Check functions, or a file, and show what is wrong.

    A file runs in a process of its own with limits of time and memory; functions run right here, so
    that a loop without an end has to be interrupted by hand.

    Args:
        exercise: its number or name, ``"1.2"`` or ``"logistic"``.
        answers: your functions, by the names that they have in the starter file (one alone may
            have any name); or the path of a file.

    Returns:
        A result that is true if it has all points, and prints or displays as a table.

    Raises:
        ValueError: for an exercise that there is not.
        TypeError: for an exercise that is no text, or for anything else than functions, classes or
            one path.

    >>> import numpy as np
    >>> from minibnn.learn import check
    >>> def logistic(z):
    ...     return 1 / (1 + np.exp(z))
    >>> result = check("1.2", logistic)
    >>> result.mistakes
    ['exp(z) in place of exp(-z)']
    """
    found = find(exercise)
    if len(answers) == 1 and isinstance(answers[0], str | os.PathLike):
        return check_file(found, answers[0])
    functions: dict[str, Any] = {}
    for answer in answers:
        if not callable(answer):
            raise TypeError(
                f"check: expected functions or one path, got {answer!r}; "
                'write check("1.2", my_function)'
            )
        functions[getattr(answer, "__name__", "")] = answer
    names = list(found.functions)
    if len(functions) == 1 and len(names) == 1:
        functions = {names[0]: next(iter(functions.values()))}
    grader = Grader(found)
    lines = tuple(grader.grade(functions, {n: _holes(f) for n, f in functions.items()}))
    return Result(found.id, found.title, lines, notes=tuple(grader.warnings))


def _holes(function: Any) -> list[int]:
    """The lines of a function's source with holes, if it has a source."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        return [line for lines in holes_in(source).values() for line in lines]
    except (OSError, TypeError, SyntaxError):
        return []
