"""Grading: the learner's functions beside the reference solution and the typical mistakes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from minibnn.learn.author import Check, Mistake, Outcome
from minibnn.learn.exercise import Exercise
from minibnn.learn.result import Line
from minibnn.learn.values import filename_of, shortened

DAMAGED = (
    "Your code changes something that the check uses, too: a function of NumPy, for instance, if a "
    "name like np.log is given a value."
)


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings: those of wrong answers are no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Grader:
    """Grades any number of answers to one exercise.

    The right outcomes are computed at once, so that nothing an answer does can change them.
    """

    def __init__(self, exercise: Exercise) -> None:
        self.exercise = exercise
        self.mistakes = exercise.mistakes
        self.references = exercise.functions
        with quiet():
            self.right = [check.expected() for check in exercise.checks]
        self.warnings: list[str] = []
        self._wrong: dict[tuple[int, str], Outcome] = {}

    def grade(
        self, answer: Mapping[str, Any], holes: Mapping[str, Sequence[int]] | None = None
    ) -> Iterator[Line]:
        """The result of each check in turn.

        A function is checked with the reference solution of the others, if it calls them. So a
        mistake costs the points of its own function only.

        Args:
            answer: the learner's functions by name.
            holes: the lines with holes that are left in each of them.
        """
        for number, check in enumerate(self.exercise.checks):
            function = answer.get(check.name)
            if not callable(function):
                yield _line(check, details=self._missing(check.name, function))
            elif lines := (holes or {}).get(check.name):
                yield _line(check, details=_holes(lines))
            else:
                yield self._compare(number, check, function)

    def _compare(self, number: int, check: Check, function: Any) -> Line:
        others = {n: f for n, f in self.references.items() if n != check.name}
        right = self.right[number]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            got = check.outcome(with_others(function, others))
        self._note(caught, filename_of(function))
        points = check.score(right, got)
        if points == check.points:
            return Line(check.title, points, check.points)
        if not self._intact(number, check):
            return Line(check.title, 0, check.points, details=DAMAGED)
        names = tuple((m.name, m.message) for m in self._recognised(number, check, got))
        details = check.wrong(right, got)
        return Line(check.title, points, check.points, names, details)

    def _intact(self, number: int, check: Check) -> bool:
        """Whether the reference solution still gives what it gave before the answer ran."""
        try:
            with quiet():
                return check.same(check.expected(), self.right[number])
        except Exception:
            return False

    def _recognised(self, number: int, check: Check, got: Outcome) -> list[Mistake]:
        """The mistakes of this function that have the same outcome."""
        return [
            mistake
            for mistake in self.mistakes
            if mistake.of == check.name
            and check.same(self._outcome_of(number, check, mistake), got)
        ]

    def _outcome_of(self, number: int, check: Check, mistake: Mistake) -> Outcome:
        key = number, mistake.name
        if key not in self._wrong:
            with quiet():
                self._wrong[key] = check.outcome(mistake.code)
        return self._wrong[key]

    def _note(self, caught: list[warnings.WarningMessage], filename: str) -> None:
        for warning in caught:
            if warning.filename == filename:
                note = shortened(f"Line {warning.lineno} warns: {warning.message}")
                if note not in self.warnings:
                    self.warnings.append(note)

    def _missing(self, name: str, found: Any) -> str:
        what = "function" if isinstance(self.references[name], FunctionType) else "class"
        if found is None:
            return f"There is no {what} {name} here. Give it its name from the starter file."
        return f"{name} is no {what} any more: another line of the file gives it a value."


def _line(check: Check, details: str) -> Line:
    return Line(check.title, 0, check.points, details=details, done=False)


def _holes(lines: Sequence[int]) -> str:
    return f"`...` is left in line{'s' * (len(lines) > 1)} {', '.join(map(str, lines))}."


def with_others(function: Any, others: Mapping[str, Any]) -> Any:
    """The function as if the module it lives in had these other functions."""
    if not isinstance(function, FunctionType):
        return function
    made = FunctionType(
        function.__code__,
        {**function.__globals__, **others},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__doc__ = function.__doc__
    return made
