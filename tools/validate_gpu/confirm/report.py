"""The report of `confirm_gpu.py`, rewritten after each finding, so that a kill loses no finding."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from minibnn.atomic_file import whole_file

RUNNING = "running"  # the status of a part that has not ended, perhaps because the run was killed


class Report:
    """The findings so far. The processes of the parts add to the file, one after another.

    Args:
        file: a path in an existing folder.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[str, Any]:
        """Read the whole report."""
        if not self.file.exists():
            return {"date": datetime.date.today().isoformat(), "parts": []}
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def keep_head(self, **found: Any) -> None:
        """Add findings about the whole run."""
        known = self.read()
        parts = known.pop("parts")
        self._write(known | found | {"parts": parts})

    def keep(self, part: str, **found: Any) -> None:
        """Add findings to the row of a part."""
        known = self.read()
        rows = {row["part"]: row for row in known["parts"]}
        rows.setdefault(part, {"part": part, "status": RUNNING}).update(found)
        self._write(known | {"parts": [*rows.values()]})

    def row(self, part: str) -> dict[str, Any]:
        """The row of a part."""
        return next((row for row in self.read()["parts"] if row["part"] == part), {"part": part})

    def _write(self, known: dict[str, Any]) -> None:
        with whole_file(self.file) as file:
            file.write((json.dumps(known, indent=1, default=str) + "\n").encode())
