"""A folder for a run's results. Earlier results stay until the new ones are complete."""

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
    """The folder that a run writes its results into.

    Results belong together, such as a table and its settings. If the folder already has results,
    the new ones go to the subfolder ``unfinished``, and `finish` replaces the old ones. A run that
    is stopped before that replaces nothing.

    Args:
        path: the folder; created if it does not exist.
        results: names of the files that a run may write.
        settings: written as ``config.json``: immediately if the folder has no results, otherwise
            with the first new result.

    Attributes:
        path: the folder.
        current: the folder of the run's files until `finish`.

    Raises:
        OSError: if the folder, or a file in it, cannot be written.
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
        """The path for a result; its folder exists."""
        self.current.mkdir(exist_ok=True)
        if not self._begun:
            self._begin()
        return self.current / name

    def write(self, name: str, text: str) -> None:
        """Write a result in one piece; it replaces the run's earlier one of this name."""
        with whole_file(self.file(name)) as file:
            file.write(text.encode())
        self._written.add(name)

    def finish(self) -> None:
        """Replace the earlier results by the new ones; delete those without a new one.

        If another run has finished in the meantime, it may have moved a result of this run to its
        final place already. Then it stays there.
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
            self._remove_results()  # left by a run that was stopped
        if self._settings is not None:
            with whole_file(self.current / SETTINGS) as file:
                file.write((json.dumps(self._settings, indent=2) + "\n").encode())

    @staticmethod
    def _move(new: Path, old: Path) -> None:
        if os.path.lexists(old):  # keep its mode, and a link
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
