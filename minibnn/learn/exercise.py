"""Exercises: one file each in ``exercises/``, found by listing the folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from minibnn.learn.author import CatchesMutants, Check, Mistake

FOLDER = Path(__file__).with_name("exercises")
FILE = re.compile(r"ch(\d\d)_(\d)_(\w+)")
CUT = "# ---- the learner's file ends here "
CHAPTERS = {
    1: "One neuron by hand",
    2: "A dense layer, forward and backward",
    3: "A network of floats reads digits",
    4: "The sign, and why its gradient is zero",
    5: "The straight-through estimator",
    6: "Latent weights, bounds and flips",
    7: "Batch norm as a threshold",
    8: "Surrogates compared, without fooling yourself",
    9: "Bending the chain rule",
    10: "Bits: XNOR and popcount",
    11: "Training on bits",
    12: "Your own data, onto a microcontroller",
}


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        path: its file. Above `CUT` is the reference solution, with its holes marked.
    """

    path: Path
    _loaded: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def stem(self) -> str:
        """The name of its file, and of the learner's, without ``.py``."""
        return self.path.stem

    @cached_property
    def key(self) -> tuple[int, int]:
        """Its chapter, and its number there."""
        chapter, number, _ = _numbers(self.path.stem)
        return chapter, number

    @property
    def id(self) -> str:
        """Its number, ``"1.2"``."""
        return ".".join(map(str, self.key))

    @property
    def slug(self) -> str:
        """Its name without the number."""
        return _numbers(self.path.stem)[2]

    @cached_property
    def solution(self) -> str:
        """The reference solution, as source, with its holes marked."""
        source = self.path.read_text(encoding="utf-8")
        before, cut, _ = source.partition(CUT)
        if not cut:
            raise ValueError(f"{self.path.name}: expected a line that begins with {CUT!r}")
        return before.rstrip() + "\n"

    @cached_property
    def _doc(self) -> tuple[str, str]:
        text = ast.get_docstring(ast.parse(self.solution)) or ""
        title, _, rest = text.partition("\n")
        return title.strip().rstrip("."), rest.strip()

    @property
    def title(self) -> str:
        """The first line of its docstring."""
        return self._doc[0]

    @property
    def text(self) -> str:
        """What to do: its docstring without the first line."""
        return self._doc[1]

    @cached_property
    def names(self) -> dict[str, Any]:
        """Everything that its file defines: imported when it is first needed."""
        return vars(import_module(f"minibnn.learn.exercises.{self.stem}"))

    @property
    def hints(self) -> list[str]:
        """The hints, from a push to nearly all of it."""
        return [" ".join(hint.split()) for hint in self.names["HINTS"]]

    @property
    def seconds(self) -> float:
        """How long its checks may take together."""
        return float(self.names.get("SECONDS", 10))

    @cached_property
    def checks(self) -> list[Check]:
        """What is checked, in the order of the result."""
        checks: list[Check] = self.names["CHECKS"]
        for check in checks:
            if isinstance(check, CatchesMutants):
                check.mutants = self._mutants(check.name)
        return checks

    def _mutants(self, test: str) -> dict[str, Callable[..., Any]]:
        marked = [getattr(v, "learn_mutant", None) for v in self.names.values()]
        codes = [v for v in self.names.values() if hasattr(v, "learn_mutant")]
        named = zip([m for m in marked if m], codes, strict=True)
        return {name: code for (of, name), code in named if of == test}

    @property
    def mistakes(self) -> list[Mistake]:
        """The typical wrong answers."""
        found = [getattr(value, "learn_mistake", None) for value in self.names.values()]
        return [m for m in found if isinstance(m, Mistake)]

    @property
    def points(self) -> int:
        """The points of all checks."""
        return sum(check.points for check in self.checks)

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The reference solution's functions that are checked."""
        return {check.name: check.function for check in self.checks}


def _numbers(stem: str) -> tuple[int, int, str]:
    found = FILE.fullmatch(stem)
    if not found:
        raise ValueError(f"{stem}: expected a name like ch01_2_logistic")
    return int(found[1]), int(found[2]), found[3]


@cache
def exercises() -> tuple[Exercise, ...]:
    """All exercises, in their order."""
    return tuple(Exercise(path) for path in sorted(FOLDER.glob("ch*.py")))


def find(wanted: str) -> Exercise:
    """The exercise of this number, name or file: ``1.2``, ``logistic``, ``ch01_2_logistic.py``.

    Raises:
        ValueError: if there is none.
        TypeError: for anything else than text.
    """
    if not isinstance(wanted, str):
        number = wanted if isinstance(wanted, int | float) else exercises()[0].id
        raise TypeError(
            f'learn: expected an exercise as text, such as "1.2", got {wanted!r}; write "{number}"'
        )
    stem = Path(wanted).name.removesuffix(".py")
    for exercise in exercises():
        if stem in (exercise.stem, exercise.slug) or wanted == exercise.id:
            return exercise
    import difflib

    if file := wanted.endswith(".py"):
        names = [e.stem for e in exercises()]
    else:
        names = [name for e in exercises() for name in (e.slug, e.id)]
    close = difflib.get_close_matches(stem, names, n=1)
    if close:
        advice = f"did you mean {close[0]}{'.py' * file}?"
    elif file:
        advice = (
            "a file's name says which exercise it is: name it as learn start does, such as "
            f"{names[0]}.py"
        )
    else:
        advice = "python -m minibnn learn lists them"
    raise ValueError(f"learn: expected an exercise such as 1.2, got {wanted!r}; {advice}")
