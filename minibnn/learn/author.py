"""What an exercise is written with: checks, mistakes, mutants. `minibnn.learn` has the notes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from minibnn.functions import Function
from minibnn.gradcheck import check_gradients
from minibnn.layers import Activation
from minibnn.learn.result import unwrapped
from minibnn.learn.values import (
    Raised,
    Verdict,
    as_numbers,
    attempt,
    call_text,
    copies,
    difference,
    kind,
    likeness,
    names_of_arguments,
    same,
    shape_text,
    short,
    table,
)

__all__ = [
    "Agrees",
    "Answer",
    "CatchesMutants",
    "Check",
    "Differences",
    "LayerGradients",
    "PackedBits",
    "Probe",
    "Shapes",
    "mistake",
    "mutant",
    "parts",
]

Outcome = dict[str, Any]
_Thing = TypeVar("_Thing", bound=Callable[..., Any])


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer: what it is called, what the learner is told, and its code.

    Attributes:
        of: the name of the function or class that it is a wrong answer to.
        name: a few words, such as ``the gradient without the transpose``.
        message: sentences for the learner; the docstring of the code.
        code: the wrong function or class.
    """

    of: str
    name: str
    message: str
    code: Callable[..., Any]


def mistake(of: Callable[..., Any], name: str) -> Callable[[_Thing], _Thing]:
    """Mark a function or class as a typical wrong answer to `of`; its docstring is the message."""

    def mark(code: _Thing) -> _Thing:
        message = inspect.getdoc(code)
        if not message:
            raise ValueError(f"{code.__name__}: expected a docstring, which the learner reads")
        code.learn_mistake = Mistake(of.__name__, name, unwrapped(message), code)  # type: ignore[attr-defined]
        return code

    return mark


def mutant(of: Callable[..., Any], name: str) -> Callable[[_Thing], _Thing]:
    """Mark a function or class as one that the learner's test `of` must catch."""

    def mark(code: _Thing) -> _Thing:
        code.learn_mutant = (of.__name__, name)  # type: ignore[attr-defined]
        return code

    return mark


class Check:
    """One line of a result: calls one function of the learner and looks at what it gives.

    A check turns a function into an *outcome*, a dict of values by what they are. The right outcome
    is that of the reference solution. A wrong one that equals the outcome of a `Mistake` has
    this mistake's name. A check of your own defines `outcome`.

    Args:
        function: the reference solution's function or class; the learner's has the same name.
        title: what is checked, in a few words.
        points: for a right outcome.
        tolerance: the relative error that numbers may have.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        title: str,
        *,
        points: int = 1,
        tolerance: float = 1e-6,
    ) -> None:
        self.function = function
        self.name = function.__name__
        self.title = title
        self.points = points
        self.tolerance = tolerance

    def outcome(self, function: Callable[..., Any]) -> Outcome:
        """What the function does, as values by what they are."""
        raise NotImplementedError

    def expected(self) -> Outcome:
        """The right outcome."""
        return self.outcome(self.function)

    def same(self, a: Outcome, b: Outcome) -> bool:
        """Whether two outcomes are the same."""
        return same(a, b, self.tolerance)

    def score(self, right: Outcome, got: Outcome) -> int:
        """The points for an outcome."""
        return self.points if self.same(right, got) else 0

    def wrong(self, right: Outcome, got: Outcome) -> str:
        """What is wrong with an outcome, in words: the first value that differs."""
        for label in right:
            if label not in got:
                return f"{label} is missing."
            if not same(right[label], got[label], self.tolerance):
                first = difference(label, right[label], got[label], self.tolerance)
                alike = likeness(right, got, self.tolerance)
                return f"{first}\n{alike}" if alike else first
        more = [label for label in got if label not in right]
        return got[more[0]] if more else ""


class Agrees(Check):
    """The function gives what the reference solution gives, for these cases.

    It is told if it changes an argument in place; of several parts, with the first, so that it
    costs the points of one. With `in_place` the arguments afterwards are compared, too.

    Args:
        function: as in `Check`.
        cases: tuples of arguments; a single argument needs no tuple.
        title: as in `Check`.
        points: as in `Check`.
        tolerance: as in `Check`.
        returns: the names of the values that the function returns as a tuple, ``"dx dW db"``.
        part: compare this one of them only.
        in_place: whether the function has to change its arguments.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        cases: Sequence[Any],
        title: str,
        *,
        points: int = 1,
        tolerance: float = 1e-6,
        returns: str = "",
        part: str = "",
        in_place: bool = False,
    ) -> None:
        super().__init__(function, title, points=points, tolerance=tolerance)
        self.cases = [case if isinstance(case, tuple) else (case,) for case in cases]
        self.returns = returns.split()
        self.part = part
        self.in_place = in_place

    def labels(self) -> list[tuple[str, dict[str, Any]]]:
        """Each case as the text of a call, and its arguments by name."""
        found: list[tuple[str, dict[str, Any]]] = []
        for number, case in enumerate(self.cases, start=1):
            names = names_of_arguments(self.function, len(case))
            arguments = dict(zip(names, case, strict=True))
            text = call_text(self.name, arguments)
            if text in [t for t, _ in found]:
                text += f", call {number}"
            found.append((text, arguments))
        return found

    def outcome(self, function: Callable[..., Any]) -> Outcome:
        """The values of all cases, and which arguments were changed."""
        found: Outcome = {}
        for text, arguments in self.labels():
            given = copies(tuple(arguments.values()))
            value = attempt(function, *given)
            found[self.label(text)] = self.chosen(value)
            for name, before, after in zip(arguments, arguments.values(), given, strict=True):
                if self.in_place:
                    found[f"{name} after {text}"] = after
                elif self.part in ("", *self.returns[:1]) and not same(before, after, 0.0):
                    found[f"{name} changed"] = (
                        f"{self.name} changes its argument {name} in place. Compute a new array "
                        f"instead: whoever called it still uses the old one."
                    )
        return found

    def label(self, text: str) -> str:
        """What the learner reads above a wrong value."""
        return f"{self.part} of {text}" if self.part else text

    def wrong(self, right: Outcome, got: Outcome) -> str:
        """What is wrong; an error is the same for all parts of a value."""
        text = super().wrong(right, got)
        raised = any(isinstance(value, Raised) for value in got.values())
        return text.removeprefix(f"{self.part} of ") if raised else text

    def chosen(self, value: Any) -> Any:
        """The part of a returned value that is compared."""
        if not self.part or isinstance(value, Raised) or value is None or value is Ellipsis:
            return value
        if not isinstance(value, tuple | list) or len(value) != len(self.returns):
            names = ", ".join(self.returns)
            return Raised(f"expected `return {names}`, got something else than these values")
        return value[self.returns.index(self.part)]


def parts(
    function: Callable[..., Any],
    cases: Sequence[Any],
    returns: str,
    *,
    points: int = 1,
    tolerance: float = 1e-6,
) -> list[Check]:
    """A check `Agrees` for each value that the function returns: ``"dx dW db"``."""
    return [
        Agrees(
            function, cases, f"{part} of {function.__name__}",
            points=points, tolerance=tolerance, returns=returns, part=part,
        )
        for part in returns.split()
    ]  # fmt: skip


class Answer(Check):
    """The function, which takes nothing, gives the answer to a question; it is not shown.

    Args: as in `Check`.
    """

    def outcome(self, function: Callable[..., Any]) -> Outcome:
        """The answer; of one that is a set, any collection of the same things is one."""
        answer = attempt(function)
        if isinstance(answer, list | tuple | str | frozenset) and isinstance(self.function(), set):
            with suppress(TypeError):  # a list of lists stays one, and is not the answer
                answer = {answer} if isinstance(answer, str) else set(answer)
        return {f"{self.name}()": answer}

    def wrong(self, right: Outcome, got: Outcome) -> str:
        """That it is wrong, and nothing about the right one."""
        answer = got[f"{self.name}()"]
        if isinstance(answer, Raised) or answer is None or answer is Ellipsis:
            return super().wrong(right, got)
        return f"{self.name}() gives {short(answer)}, and that is not the answer."


class Shapes(Agrees):
    """The function gives arrays of the right shapes, whatever their values."""

    def chosen(self, value: Any) -> Any:
        """The shapes of the value."""
        value = super().chosen(value)
        if isinstance(value, tuple) or (self.returns and isinstance(value, list)):
            return tuple(map(shape_of, value))
        return value if isinstance(value, Raised) or value is None else shape_of(value)

    def wrong(self, right: Outcome, got: Outcome) -> str:
        """The first shape that differs."""
        for label, shapes in right.items():
            found = got[label]
            if found == shapes or found is None or isinstance(found, Raised):
                continue
            if isinstance(shapes, str):
                return f"{label}\nexpected {shapes}, got {found}."
            if isinstance(found, str) or len(found) != len(shapes):
                count = "one value" if isinstance(found, str) else f"{len(found)} values"
                return f"{label}\nexpected a tuple of {len(shapes)} values, got {count}."
            at = next(i for i, shape in enumerate(shapes) if found[i] != shape)
            name = self.returns[at] if self.returns else f"value {at + 1}"
            return f"{label}\n{name}: expected {shapes[at]}, got {found[at]}."
        return super().wrong(right, got)


def shape_of(value: Any) -> str:
    """The shape as text: texts are compared as they are."""
    numbers = as_numbers(value)
    return kind(value) if numbers is None else shape_text(numbers)


class Differences(Agrees):
    """The function gives the gradient of `of`, by central differences in float64.

    Args:
        function: the function that returns the gradient.
        of: takes the same arguments and returns the number that is differentiated, such as
            ``lambda dz, x, W, b: (dz * forward(x, W, b)).sum()``.
        wrt: the name of the argument of `of` to differentiate by.
        cases: as in `Agrees`, and so are the others.
        title: what is checked.
        points: for a right gradient.
        tolerance: the relative error that numbers may have.
        returns: the names of the values that the function returns.
        part: the one of them that is this gradient.
        at: makes the arguments of `of` from those of `function`, if they are not the same.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        of: Callable[..., Any],
        wrt: str,
        cases: Sequence[Any],
        title: str,
        *,
        points: int = 1,
        tolerance: float = 1e-5,
        returns: str = "",
        part: str = "",
        at: Callable[..., tuple[Any, ...]] = lambda *arguments: arguments,
    ) -> None:
        super().__init__(
            function, cases, title,
            points=points, tolerance=tolerance, returns=returns, part=part,
        )  # fmt: skip
        self.of = of
        self.wrt = wrt
        self.at = at

    def expected(self) -> Outcome:
        """The differences."""
        found: Outcome = {}
        for text, arguments in self.labels():
            given = self.at(*arguments.values())
            number = names_of_arguments(self.of, len(given)).index(self.wrt)
            found[self.label(text)] = central_differences(self.of, given, number)
        return found

    def wrong(self, right: Outcome, got: Outcome) -> str:
        """What differs, with a word on what is expected."""
        text = super().wrong(right, got)
        return f"{text}\n(expected: central differences)" if "expected  " in text else text


def central_differences(of: Callable[..., Any], arguments: tuple[Any, ...], at: int) -> Any:
    """The gradient of ``of(*arguments)`` by argument number `at`.

    >>> central_differences(lambda x: x @ x, (np.array([2.0, 3.0]),), 0).round(6)
    array([4., 6.])
    """
    x = np.array(arguments[at], dtype=np.float64)
    gradient = np.zeros_like(x)
    step = 1e-5
    for place in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            given = list(copies(arguments))
            given[at] = moved
            ends.append(float(of(*given)))
        gradient[place] = (ends[0] - ends[1]) / (2 * step)
    return gradient if gradient.ndim else gradient[()]


class Probe(Check):
    """What the probe finds when it uses the function: anything that can be put in numbers.

    Args:
        function: as in `Check`.
        probe: is given the function and returns a dict of values by what they are, such as
            ``{"standard deviation of W": 0.05}``. What it draws has its own seed.
        title: as in `Check`.
        points: as in `Check`.
        tolerance: as in `Check`; of statistics of random numbers some percents.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        probe: Callable[[Any], Mapping[str, Any]],
        title: str,
        *,
        points: int = 1,
        tolerance: float = 1e-6,
    ) -> None:
        super().__init__(function, title, points=points, tolerance=tolerance)
        self.probe = probe

    def outcome(self, function: Callable[..., Any]) -> Outcome:
        """What the probe finds, or the error in its place."""
        found = attempt(_Watched(function, self.probe))
        return {f"{self.name}": found} if isinstance(found, Raised) else dict(found)

    def wrong(self, right: Outcome, got: Outcome) -> str:
        """The error, or the first value that differs."""
        if isinstance(error := got.get(self.name), Raised):
            where = f"(Outside your code, where the check calls {self.name} or uses what it gives.)"
            return f"{self.name}\n{error}" + (f"\n{where}" if not error.where else "")
        return super().wrong(right, got)


class PackedBits(np.ndarray):
    """Bytes that ``np.unpackbits`` refuses: an array's ``view(PackedBits)``."""

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.unpackbits:
            raise ValueError("np.unpackbits: do not unpack, count the 1s of a ^ b in their bytes")
        return super().__array_function__(func, types, args, kwargs)


class _Watched:
    """A probe of a function; errors are looked for in the function's file."""

    def __init__(self, function: Callable[..., Any], probe: Callable[[Any], Any]) -> None:
        self.__wrapped__ = function
        self.probe = probe

    def __call__(self) -> Any:
        return self.probe(self.__wrapped__)


class LayerGradients(Check):
    """A layer or function of the learner's passes `check_gradients`, and equals the reference.

    Args:
        function: the class in the reference solution.
        make: is given the class and returns the object to check.
        x: a batch, in float64.
        title: as in `Check`.
        points: as in `Check`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        make: Callable[[Any], Any],
        x: Any,
        title: str,
        *,
        points: int = 1,
    ) -> None:
        super().__init__(function, title, points=points)
        self.make = make
        self.x = x

    def outcome(self, function: Callable[..., Any]) -> Outcome:
        """The report of the gradient check, the output, and the gradients by backward."""
        found = attempt(_Watched(function, self.passes))
        return {self.name: found} if isinstance(found, Raised) else dict(found)

    def passes(self, function: Callable[..., Any]) -> Outcome:
        """One pass in both directions, and the check."""
        rng = np.random.default_rng(0)
        layer = self.make(function)
        if isinstance(layer, Function):
            layer = Activation(layer)
        layer.initialize(rng, np.float64)
        y = layer.forward(self.x, train=True)
        found: Outcome = {"forward(x)": y, "backward(dy)": None}
        found["backward(dy)"] = layer.backward(rng.standard_normal(np.shape(y)))
        for name, parameter in layer.named_parameters():
            found[f"gradient of {name}"] = parameter.grad
        report = check_gradients(self.make(function), self.x)
        wrong = [
            f"  {r.name} at {r.index}: backward gives {r.analytic:.5g}, differences {r.numeric:.5g}"
            + (f"\nThe cause, probably: {r.cause}{'.' * (r.cause[-1] != '?')}" if r.cause else "")
            for r in report.results
            if not r.ok
        ]
        found["check_gradients"] = Verdict(report.ok, "\n".join(wrong))
        return found

    def wrong(self, right: Outcome, got: Outcome) -> str:
        """The report, if it is the gradient that is wrong."""
        if isinstance(error := got.get(self.name), Raised):
            return f"{self.name}\n{error}"
        if same(right["forward(x)"], got["forward(x)"], self.tolerance):
            verdict = got["check_gradients"]
            if not verdict.passes:
                return f"check_gradients finds:\n{verdict.why}"
        text = super().wrong(right, got)
        return f"{text}\n{table({'x': short(self.x)})}" if "expected  " in text else text


class CatchesMutants(Check):
    """The learner's test passes with the right implementation, and fails with each mutant.

    The points are divided among the mutants. If the right implementation does not pass there are
    none: a test that always fails catches every mutant. One that never calls what it is given is
    told so.

    Args:
        function: the test in the reference solution; it is given an implementation and raises.
        right: the right implementation.
        title: as in `Check`.
        points: as in `Check`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        right: Callable[..., Any],
        title: str,
        *,
        points: int = 1,
    ) -> None:
        super().__init__(function, title, points=points)
        self.right = right
        self.mutants: dict[str, Callable[..., Any]] = {}  # set when the exercise is loaded

    def outcome(self, function: Callable[..., Any]) -> Outcome:
        """Whether the test passes, for the right implementation and for each mutant."""
        calls: list[bool] = []

        @functools.wraps(self.right)
        def right(*arguments: Any, **named: Any) -> Any:
            calls.append(True)
            return self.right(*arguments, **named)

        codes: dict[str, Callable[..., Any]] = {"right": right, **self.mutants}
        verdicts = {name: self.verdict(function, code) for name, code in codes.items()}
        return {"called": bool(calls), **verdicts}

    @staticmethod
    def verdict(function: Callable[..., Any], code: Callable[..., Any]) -> Verdict:
        """Whether the test passes with this implementation."""
        value = attempt(function, code)
        if isinstance(value, Raised):
            return Verdict(False, str(value))
        return Verdict(True)

    def score(self, right: Outcome, got: Outcome) -> int:
        """The points for the mutants caught, rounded down."""
        if not got["right"].passes:
            return 0
        caught = sum(not got[name].passes for name in self.mutants)
        return self.points * caught // len(self.mutants)

    def wrong(self, right: Outcome, got: Outcome) -> str:
        """What the test does to the right implementation, or which mutants it misses."""
        if not got["right"].passes:
            return f"The right implementation does not pass your test:\n{got['right'].why}"
        if not got["called"]:
            (given,) = names_of_arguments(self.function, 1)
            return f"Your test never calls {given}, so nothing that is wrong in it can show."
        missed = [name for name in self.mutants if got[name].passes]
        lines = "\n".join(f"  - {name}" for name in missed)
        caught = len(self.mutants) - len(missed)
        silent = "\nA comparison that is printed or returned raises no error: assert it."
        return (
            f"It catches {caught} of {len(self.mutants)} wrong implementations. "
            f"These pass your test:\n{lines}{silent * (not caught)}"
        )
