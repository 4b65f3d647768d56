"""A folder of a run's results that keeps an earlier run's until the new ones are complete."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from minibnn.atomic_file import require_writable, whole_file

__all__ = ["SETTINGS", "UNFINISHED", "ResultFolder"]

SETTINGS = "config.json"
UNFINISHED = "unfinished"


class ResultFolder:
    """Where a run writes: into a folder, or, beside an earlier run's results, into a part of it.

    Results come in sets: a table belongs to its settings. In a folder that already has a set, the
    new one grows in the subfolder ``unfinished`` and takes the earlier one's place with `finish`.
    A run that is stopped on the way has replaced nothing.

    Args:
        path: of the folder; made if need be.
        results: the names of the files that a run can write.
        settings: what the run is made of, to be written as ``config.json``: at once into a folder
            without results, else with the first of the new ones.

    Attributes:
        path: of the folder.
        current: where the run's files are until `finish`.

    Raises:
        OSError: the folder, or a file in it, cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        results: Iterable[str],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self._names = [*results]
        self._settings = settings
        self._written: set[str] = set()
        self._begun = False
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise FileExistsError(
                errno.EEXIST,
                "expected a folder for results, got a file; choose another name",
                str(self.path),
            ) from None
        earlier = any(os.path.lexists(self.path / name) for name in self._names)
        self.current = self.path / UNFINISHED if earlier else self.path
        self._require_writable()
        if not earlier:
            self._begin()

    def file(self, name: str) -> Path:
        """The path for a result, in a folder that is there."""
        self.current.mkdir(exist_ok=True)
        if not self._begun:
            self._begin()
        return self.current / name

    def write(self, name: str, text: str) -> None:
        """Write a result whole, in place of the one of this name from earlier in the run."""
        with whole_file(self.file(name)) as file:
            file.write(text.encode())
        self._written.add(name)

    def finish(self) -> None:
        """Let the run's set take the earlier one's place; what it has no file for goes.

        What was written and is gone was moved by another run into this folder, and stays there.
        """
        if self.current == self.path:
            return
        for name in (*self._names, SETTINGS):
            new, old = self.current / name, self.path / name
            if new.exists():
                with suppress(FileNotFoundError):
                    self._move(new, old)
            elif name not in self._written and name != SETTINGS:
                old.unlink(missing_ok=True)
        self._remove_results()
        self._remove_if_empty()
        self.current = self.path

    def _begin(self) -> None:
        self._begun = True
        if self.current != self.path:
            self._remove_results()  # of a run that was stopped, with other settings
        if self._settings is not None:
            with whole_file(self.current / SETTINGS) as file:
                file.write((json.dumps(self._settings, indent=2) + "\n").encode())

    @staticmethod
    def _move(new: Path, old: Path) -> None:
        if os.path.lexists(old):  # its mode stays, and if it is a link, that too
            with whole_file(old) as file:
                file.write(new.read_bytes())
        else:
            os.replace(new, old)

    def _remove_results(self) -> None:
        for name in (*self._names, SETTINGS):
            (self.current / name).unlink(missing_ok=True)

    def _require_writable(self) -> None:
        self.current.mkdir(exist_ok=True)
        try:
            for folder in {self.path, self.current}:
                for name in (*self._names, SETTINGS):
                    require_writable(folder / name)
        finally:
            self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        if self.current != self.path:
            with suppress(OSError):
                self.current.rmdir()
