"""The finished runs of a comparison in a file, from which it is resumed."""

from __future__ import annotations

import logging
import os
from typing import Any

from minibnn.atomic_file import require_writable, whole_file
from minibnn.comparison.grid import Row
from minibnn.file_lock import FileLock, LockedError
from minibnn.state_file import flatten, from_json, to_json, unflatten
from minibnn.training.checkpoint import WrongCheckpointError
from minibnn.training.checkpoint_file import CheckpointError
from minibnn.training.job import differences

FORMAT, VERSION = "minibnn-comparison", 1


class FinishedRuns:
    """The rows of the finished runs, in a file together with what the comparison consists of.

    Both are in one file, so that rows cannot meet the settings of another comparison, whenever a
    process is killed. A context holds a lock on the file.

    Args:
        path: of the file; it is written with the first row.
        resume: whether to take over the rows in the file, if there is one. Without it, a file of an
            unfinished comparison is an error.
        job: what decides the rows: settings, data, versions, as texts, numbers, lists and dicts.
        circumstances: what decides their last bits, as texts by name.
        total: how many runs there will be.

    Attributes:
        rows: by the number of the run.

    Raises:
        WrongCheckpointError: if the file is of another comparison, or of an unfinished one although
            a new one was asked for.
        CheckpointError: if it is damaged, or another process uses it.
        OSError: if it cannot be read or written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        resume: bool,
        job: dict[str, Any],
        circumstances: dict[str, str],
        total: int,
    ) -> None:
        self.rows: dict[int, Row] = {}
        self._path = os.fsdecode(path)
        self._about: dict[str, Any] = {"job": job, "circumstances": circumstances, "runs": total}
        require_writable(self._path)
        try:
            self._lock = FileLock(self._path)
        except LockedError as held:
            raise CheckpointError(
                f"{self._path}: expected a file that no other comparison uses, got one that "
                f"{held.process} is using; end that one, or choose another folder"
            ) from None
        try:
            self._take_over(resume)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> FinishedRuns:
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def add(self, number: int, row: Row) -> None:
        """Add a row, and write the file.

        Raises:
            OSError: if it cannot be written.
        """
        self.rows[number] = row
        rows = [{"number": number, **row} for number, row in sorted(self.rows.items())]
        _, plain = flatten({"format": FORMAT, "version": VERSION, **self._about, "rows": rows})
        with whole_file(self._path) as file:
            file.write(to_json(plain).encode())

    def _take_over(self, resume: bool) -> None:
        if not os.path.lexists(self._path):
            return
        there = self._read()
        found, total = len(there["rows"]), there["runs"]
        if not resume:
            if found < total:
                raise WrongCheckpointError(
                    f"{self._path}: expected no unfinished comparison, got one with {found} of "
                    f"{total} runs; go on from it with compare(..., resume=True), or delete it"
                )
            return  # its results are in other files, too
        different = list(differences(there["job"], self._about["job"]))
        if different:
            if found == total:
                return
            raise WrongCheckpointError(
                f"{self._path}: expected the runs of this comparison, got {found} of another: "
                f"{'; '.join(different)}; resume with the same data and settings, or choose "
                "another folder"
            )
        changed = list(differences(there["circumstances"], self._about["circumstances"]))
        if changed and found < total:
            logging.getLogger("minibnn").warning(
                "%s: the comparison goes on, but the runs to come may be rounded otherwise: %s",
                self._path,
                "; ".join(changed),
            )
        self.rows = {row.pop("number"): row for row in there["rows"]}
        logging.getLogger("minibnn").info(
            "%s: resumed after %d of %d runs", self._path, found, total
        )

    def _read(self) -> dict[str, Any]:
        try:
            if not os.path.isfile(self._path):
                raise ValueError("it is no ordinary file")
            with open(self._path, encoding="utf-8") as file:
                there = unflatten({}, from_json(file.read()))
            if there["format"] != FORMAT or there["version"] != VERSION:
                raise ValueError("it has another format or version")
            if not all(type(row["number"]) is int for row in there["rows"]):
                raise ValueError("its rows have no numbers")
            found: dict[str, Any] = there
            _ = found["job"], found["circumstances"], found["runs"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self._path}: expected the finished runs of a comparison, got something else "
                f"({error}); delete it to start anew"
            ) from None
        return found
