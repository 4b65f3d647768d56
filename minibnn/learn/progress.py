"""A learner's folder: the files with answers, and how far the learner is, in a small JSON file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from minibnn.atomic_file import whole_file
from minibnn.learn.exercise import Exercise
from minibnn.learn.result import Result

NAME = "learn-progress.json"
DEFAULT = "exercises"
BEGUN = {"points": 0, "hints": 0, "checks": 0}


class ProgressError(ValueError):
    """The file with the progress cannot be read."""


class Folder:
    """A learner's folder.

    Args:
        path: the folder; without it, the current folder if a learner has begun there, else
            ``exercises`` in it.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        if path is None:
            path = "." if Path(NAME).exists() else DEFAULT
        self.path = Path(path)

    def file(self, exercise: Exercise) -> Path:
        """Where the answer to an exercise is."""
        return self.path / f"{exercise.stem}.py"

    def read(self) -> dict[str, dict[str, int]]:
        """The progress by exercise: best points, hints seen, checks made.

        Raises:
            ProgressError: if the file is damaged.
        """
        path = self.path / NAME
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["exercises"]
            return {id: {name: int(known[name]) for name in BEGUN} for id, known in found.items()}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ProgressError(
                f"{path}: expected the progress that minibnn wrote, got something else; delete it, "
                "and check your files again: python -m minibnn learn check"
            ) from error

    def begun(self) -> bool:
        """Whether a learner has begun here: the file with the progress exists."""
        return (self.path / NAME).exists()

    def of(self, exercise: Exercise) -> dict[str, int]:
        """The progress in one exercise."""
        return self.read().get(exercise.id, dict(BEGUN))

    def write(self, exercise: Exercise, **changes: int) -> None:
        """Change the progress in one exercise; without changes, begin it."""
        every = self.read()
        every[exercise.id] = {**self.of(exercise), **changes}
        text = json.dumps({"format": 1, "exercises": every}, indent=1, sort_keys=True)
        self.path.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path / NAME) as file:
            file.write(text.encode() + b"\n")

    def record(self, exercise: Exercise, result: Result) -> None:
        """Record a check: the best points stay."""
        before = self.of(exercise)
        points = max(before["points"], result.points)
        self.write(exercise, points=points, checks=before["checks"] + 1)
