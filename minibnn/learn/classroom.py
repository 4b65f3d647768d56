"""A class: the files of all learners checked, a CSV of points, and what the class finds hard."""

from __future__ import annotations

import csv
import io
import os
import re
import textwrap
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from minibnn.atomic_file import whole_file
from minibnn.learn.exercise import Exercise, exercises
from minibnn.learn.isolate import check_file
from minibnn.learn.result import Line, Result

LIKE = re.compile(r"ch\d\d?_\d", re.IGNORECASE)  # how names of exercises begin
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how formulas begin


@dataclass(frozen=True)
class Learner:
    """One learner's results by exercise; an exercise without a file has none.

    Attributes:
        notes: what looks like a file of an exercise and is not checked, and why.
    """

    name: str
    results: dict[str, Result]
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """The points in all exercises."""
        return sum(result.points for result in self.results.values())


def check_class(
    folder: str | os.PathLike[str], tell: Callable[[str], None] = lambda text: None
) -> list[Learner]:
    """Check the files of all learners, on all cores.

    Args:
        folder: has a folder for each learner, with the files as ``learn start`` names them.
        tell: is given a line when a learner's files are checked.

    Raises:
        FileNotFoundError: if there is no such folder, or none with an answer.
    """
    root = Path(folder)
    folders = sorted(p for p in root.glob("*") if p.is_dir() and not p.name.startswith("."))
    found = [_files(learner) for learner in folders]
    if not any(files for files, _ in found):
        raise FileNotFoundError(
            f"{root}: expected a folder for each learner with files such as "
            f"{exercises()[0].stem}.py, got none; name the folder that has the learners' folders"
        )
    learners = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda job: _checked(*job), (job for files, _ in found for job in files))
        for learner, (files, notes) in zip(folders, found, strict=True):
            own = {exercise.id: next(results) for exercise, _ in files}
            learners.append(Learner(learner.name, own, tuple(notes)))
            tell(f"{len(learners)} of {len(folders)}: {learner.name}")
    return learners


def _files(learner: Path) -> tuple[list[tuple[Exercise, Path]], list[str]]:
    """The files of a learner that are to be checked, and notes on those that are not."""
    files, notes = [], []

    def refused(error: OSError) -> None:
        place = os.path.relpath(error.filename, learner)
        notes.append(f"{place}/: cannot be read, {error.strerror}")

    for folder, inside, names in os.walk(learner, onerror=refused):
        inside[:] = sorted(name for name in inside if not name.startswith((".", "__")))
        for name in sorted(names):
            path = Path(folder, name)
            exercise, wrong = _meant(name)
            if exercise and not wrong and path.parent == learner:
                files.append((exercise, path))
            elif exercise or wrong:
                why = wrong or "it is not right in the learner's folder"
                notes.append(f"{path.relative_to(learner).as_posix()}: not checked, {why}")
    return sorted(files, key=lambda file: file[0].key), notes


def _meant(name: str) -> tuple[Exercise | None, str]:
    """The exercise that a file's name seems to mean, if any, and what is wrong with the name."""
    for exercise in exercises():
        right = f"{exercise.stem}.py"
        if name == right:
            return exercise, ""
        if name.lower().startswith(exercise.stem) or name == f"{exercise.slug}.py":
            return exercise, f"the name is not {right}"
    return None, "no exercise has this name" if LIKE.match(name) else ""


def _checked(exercise: Exercise, path: Path) -> Result:
    """The result of a file; whatever goes wrong is one, so that the others are checked."""
    try:
        return check_file(exercise, path)
    except Exception as error:
        lines = tuple(Line(c.title, 0, c.points, done=False) for c in exercise.checks)
        why = f"The check failed: {type(error).__name__}: {error}"
        return Result(exercise.id, exercise.title, lines, why)


def results_csv(learners: list[Learner]) -> str:
    """A row for each learner: points by exercise, their sum, the mistakes recognised, and notes.

    A cell is empty if there is no file. The column ``1.2 (3)`` has an exercise of three points.
    """
    every = exercises()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    columns = [f"{e.id} ({e.points})" for e in every]
    table.writerow(
        ["learner", *columns, f"all ({sum(e.points for e in every)})", "mistakes", "notes"]
    )
    for learner in learners:
        points = [learner.results[e.id].points if e.id in learner.results else "" for e in every]
        mistakes = "; ".join(
            f"{id}: {name}" for id, result in learner.results.items() for name in said(result)
        )
        texts = mistakes, "; ".join(learner.notes)
        table.writerow([_cell(learner.name), *points, learner.points, *map(_cell, texts)])
    return text.getvalue()


def _cell(text: str) -> str:
    """The text for a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def said(result: Result) -> list[str]:
    """The mistakes of a result, or its trouble in a line."""
    return [result.short_trouble] if result.trouble else result.mistakes


def write_results(learners: list[Learner], path: str | os.PathLike[str]) -> None:
    """Write the CSV."""
    with whole_file(path) as file:
        file.write(results_csv(learners).encode("utf-8", "backslashreplace"))


def class_table(learners: list[Learner]) -> str:
    """How the class did in each exercise, and its most frequent mistake there."""
    lines = [f"  {'':<5}{'exercise':<44} {'files':>5} {'right':>5} {'mean':>9}"]
    for exercise in exercises():
        results = [r.results[exercise.id] for r in learners if exercise.id in r.results]
        if results:
            lines += _rows(exercise, results)
    return "\n".join(lines)


def _rows(exercise: Exercise, results: list[Result]) -> list[str]:
    mean = sum(r.points for r in results) / len(results)
    right = sum(r.ok for r in results)
    row = (
        f"  {exercise.id:<5}{exercise.title:<44.44} {len(results):>5} {right:>5} "
        f"{mean:>6.1f}/{exercise.points}"
    )
    mistakes = Counter(name for result in results for name in said(result))
    lines = [f"{count} x {name}" for name, count in mistakes.most_common(2)]
    return [row, *(f"         {textwrap.shorten(line, 70, placeholder=' ...')}" for line in lines)]
