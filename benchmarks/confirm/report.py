"""The file of `confirm_gpu.py`: written anew after each finding, so that a kill leaves the rest."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from minibnn.atomic_file import whole_file

RUNNING = "running"  # a part's status until its end: in the file of a run that was killed


class Report:
    """What is known so far. The parts' own processes add to the file, one after another.

    Args:
        file: its folder is there.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[str, Any]:
        """All of it."""
        if not self.file.exists():
            return {"date": datetime.date.today().isoformat(), "parts": []}
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def keep_head(self, **found: Any) -> None:
        """Add what is true of the whole run."""
        known = self.read()
        parts = known.pop("parts")
        self._write(known | found | {"parts": parts})

    def keep(self, part: str, **found: Any) -> None:
        """Add to a part's row."""
        known = self.read()
        rows = {row["part"]: row for row in known["parts"]}
        rows.setdefault(part, {"part": part, "status": RUNNING}).update(found)
        self._write(known | {"parts": [*rows.values()]})

    def row(self, part: str) -> dict[str, Any]:
        """What is known of a part."""
        return next((row for row in self.read()["parts"] if row["part"] == part), {"part": part})

    def _write(self, known: dict[str, Any]) -> None:
        with whole_file(self.file) as file:
            file.write((json.dumps(known, indent=1, default=str) + "\n").encode())
