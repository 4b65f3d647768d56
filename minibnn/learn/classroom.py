"""A class: the files of all learners checked, a CSV of points, and what the class finds hard."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from minibnn.atomic_file import whole_file
from minibnn.learn.exercise import Exercise, exercises
from minibnn.learn.isolate import check_file
from minibnn.learn.result import Line, Result


@dataclass(frozen=True)
class Learner:
    """One learner's results by exercise; an exercise without a file has none."""

    name: str
    results: dict[str, Result]

    @property
    def points(self) -> int:
        """The points in all exercises."""
        return sum(result.points for result in self.results.values())


def check_class(folder: str | os.PathLike[str]) -> list[Learner]:
    """Check the files of all learners, on all cores.

    Args:
        folder: has a folder for each learner, with the files as ``learn start`` names them.

    Raises:
        FileNotFoundError: if there is no such folder, or none with an answer.
    """
    root = Path(folder)
    folders = sorted(p for p in root.glob("*") if p.is_dir() and not p.name.startswith("."))
    jobs = [
        (learner, exercise, learner / f"{exercise.stem}.py")
        for learner in folders
        for exercise in exercises()
    ]
    jobs = [job for job in jobs if job[2].is_file()]
    if not jobs:
        raise FileNotFoundError(
            f"{root}: expected a folder for each learner with files such as "
            f"{exercises()[0].stem}.py, got none; name the folder that has the learners' folders"
        )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda job: _checked(job[1], job[2]), jobs))
    results: dict[Path, dict[str, Result]] = {learner: {} for learner in folders}
    for (learner, exercise, _), result in zip(jobs, found, strict=True):
        results[learner][exercise.id] = result
    return [Learner(learner.name, results[learner]) for learner in folders]


def _checked(exercise: Exercise, path: Path) -> Result:
    """The result of a file; whatever goes wrong is one, so that the others are checked."""
    try:
        return check_file(exercise, path)
    except Exception as error:
        lines = tuple(Line(c.title, 0, c.points, done=False) for c in exercise.checks)
        why = f"The check failed: {type(error).__name__}: {error}"
        return Result(exercise.id, exercise.title, lines, why)


def results_csv(learners: list[Learner]) -> str:
    """A row for each learner: points by exercise, their sum, and the mistakes recognised.

    A cell is empty if there is no file. The column ``1.2 (3)`` has an exercise of three points.
    """
    every = exercises()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    columns = [f"{e.id} ({e.points})" for e in every]
    table.writerow(["learner", *columns, f"all ({sum(e.points for e in every)})", "mistakes"])
    for learner in learners:
        points = [learner.results[e.id].points if e.id in learner.results else "" for e in every]
        mistakes = "; ".join(
            f"{id}: {name}" for id, result in learner.results.items() for name in said(result)
        )
        table.writerow([learner.name, *points, learner.points, mistakes])
    return text.getvalue()


def said(result: Result) -> list[str]:
    """The mistakes of a result, or the first line of its trouble."""
    return [result.trouble.splitlines()[0]] if result.trouble else result.mistakes


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
    return [row, *(f"         {count} x {name}" for name, count in mistakes.most_common(2))]
