"""A learner's folder: the files with answers, and how far the learner is, in a small JSON file."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from minibnn.atomic_file import whole_file
from minibnn.file_lock import FileLock, LockedError
from minibnn.learn.exercise import Exercise
from minibnn.learn.result import Result

NAME = "learn-progress.json"
DEFAULT = "exercises"
PATIENCE = 10  # seconds, for other commands that change the file
BEGUN = {"points": 0, "hints": 0, "checks": 0}


class ProgressError(ValueError):
    """The file with the progress cannot be read, or another command holds it."""


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
            default = self.path == Path(DEFAULT)
            where = "" if default else f" --folder {shlex.quote(str(self.path))}"
            raise ProgressError(
                f"{path}: expected the progress that minibnn wrote, got something else; delete it, "
                f"and check your files again: python -m minibnn learn check{where}"
            ) from error

    def begun(self) -> bool:
        """Whether a learner has begun here: the file with the progress exists."""
        return (self.path / NAME).exists()

    def of(self, exercise: Exercise) -> dict[str, int]:
        """The progress in one exercise."""
        return self.read().get(exercise.id, dict(BEGUN))

    def write(self, exercise: Exercise, **changes: int) -> None:
        """Change the progress in one exercise; without changes, begin it."""
        self._change(exercise, lambda before: changes)

    def record(self, exercise: Exercise, result: Result) -> None:
        """Record a check: the best points stay."""
        self._change(
            exercise,
            lambda before: {
                "points": max(before["points"], result.points),
                "checks": before["checks"] + 1,
            },
        )

    def see_hint(self, exercise: Exercise) -> int:
        """Record that one more hint is seen; how many that makes."""
        most = len(exercise.hints)
        return self._change(exercise, lambda before: {"hints": min(before["hints"] + 1, most)})[
            "hints"
        ]

    def _change(
        self, exercise: Exercise, change: Callable[[dict[str, int]], dict[str, int]]
    ) -> dict[str, int]:
        """Read, change and write the progress in one exercise, while no other command does."""
        path = self.path / NAME
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(
                f"{self.path}: expected a folder, got a file; name another folder: --folder FOLDER"
            ) from None
        with _locked(path):
            every = self.read()
            before = every.get(exercise.id, dict(BEGUN))
            every[exercise.id] = {**before, **change(before)}
            text = json.dumps({"format": 1, "exercises": every}, indent=1, sort_keys=True)
            with whole_file(path) as file:
                file.write(text.encode() + b"\n")
        return every[exercise.id]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file's lock, once other commands have released it."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            lock = FileLock(path)
            break
        except LockedError as held:
            if time.monotonic() > until:
                raise ProgressError(
                    f"{path}: expected a file that no other command is changing, got one that "
                    f"{held.process} holds; end that one, or try again"
                ) from None
        except OSError as error:
            error.filename = str(path)  # not the lock's, which the learner does not know
            raise
        time.sleep(0.01)
    try:
        yield
    finally:
        lock.release()
