"""Checkpoints: a training in a file, from which it continues to the same bytes."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from minibnn.atomic_file import UnsyncedError, require_writable
from minibnn.file_lock import FileLock, LockedError
from minibnn.state import State, Stateful, form_difference, form_of, require_form
from minibnn.state_file import flatten
from minibnn.training.checkpoint_file import (
    CheckpointError,
    before,
    read_checkpoint,
    write_checkpoint,
)

if TYPE_CHECKING:
    from minibnn.training.unrecorded import UnrecordedState

EVERY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(steps?|epochs?|s|min|h)\s*")
SECONDS = {"s": 1, "min": 60, "h": 3600}
ON_EPOCH = "on_epoch"
USERS_OWN = (ON_EPOCH, "callbacks")  # parts whose states may grow


class WrongCheckpointError(CheckpointError):
    """The checkpoint is of another training, or there although a new training was asked for."""


class Interval(NamedTuple):
    """How often a checkpoint is written: ``number`` steps, epochs or seconds.

    >>> Interval.parse("200steps"), Interval.parse("1.5 min")
    (Interval(number=200.0, unit='step'), Interval(number=90.0, unit='s'))
    """

    number: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Interval:
        """From a text such as ``"200steps"``, ``"30s"``, ``"10min"``, ``"1epoch"``.

        Raises:
            ValueError: for any other text, or a count of 0, or a part of a step or epoch.
        """
        found = EVERY.fullmatch(text) if isinstance(text, str) else None
        if found:
            number, unit = min(float(found[1]), sys.float_info.max), found[2]
            if unit in SECONDS:
                number, unit = number * SECONDS[unit], "s"
            unit = unit.removesuffix("s") if unit != "s" else unit
            if number > 0 and (unit == "s" or number.is_integer()):
                return cls(number, unit)
        raise ValueError(
            f"Checkpoint: expected every as a count and a unit, got {text!r}; write '200steps', "
            "'30s', '10min' or '1epoch'"
        )


class Checkpoint:
    """Where and how often `fit` saves the training, and whether it continues one.

    The file holds everything that training changes: the model, the optimiser, the loader's place
    in the epoch, random streams and the history so far. A training that is killed at any moment and
    resumed ends with the same bytes as one that was not; ``docs/reproducibility.md`` says on which
    conditions.

    A checkpoint appears whole or not at all. The one before it is kept as ``PATH.before``. If a
    checkpoint cannot be written, a warning says why, and training continues; the file keeps the
    last one.

    Args:
        path: of the file.
        every: a count and a unit: ``"200steps"``, ``"30s"``, ``"10min"``, ``"2epochs"``. The last
            epoch's end is saved, too.
        resume: whether to continue the training in the file, if there is one. Without it, a file
            that is there is an error, so that no training is lost.
        job: what else the training depends on, such as your program's arguments: texts and numbers
            by name. A resumed training with others is refused.

    Raises:
        ValueError: for another `every`.
        TypeError: if the path is not a path.

    >>> Checkpoint("run.safetensors", every="10min", resume=True)
    Checkpoint('run.safetensors', every='10min', resume=True)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: str = "1epoch",
        *,
        resume: bool = False,
        job: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = os.fsdecode(path)
        self.every = every
        self.interval = Interval.parse(every)
        self.resume = resume
        from minibnn.description import describe_loosely  # slow to import

        self.job = {str(name): describe_loosely(value) for name, value in (job or {}).items()}

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r}, every={self.every!r}, resume={self.resume})"

    def of(self, **job: Any) -> Checkpoint:
        """A copy, with more about the job."""
        return Checkpoint(self.path, self.every, resume=self.resume, job={**self.job, **job})

    @contextmanager
    def running(
        self,
        parts: Mapping[str, Stateful],
        job: dict[str, Any],
        circumstances: dict[str, str],
        unrecorded: UnrecordedState,
    ) -> Iterator[Saver]:
        """A context in which a training may be saved; it holds a lock on the file.

        Args:
            parts: the objects with a state, by name; those named last are restored last.
            job: see `minibnn.training.job`.
            circumstances: see there, too.
            unrecorded: finds what no state has.

        Raises:
            CheckpointError: if another process uses the file, or if it is a pipe or a device.
            OSError: if the file cannot be written.
        """
        for path in (self.path, before(self.path)):
            require_writable(path)
            if os.path.exists(path) and not os.path.isfile(path):
                raise WrongCheckpointError(
                    f"{path}: expected a file to save the training in, got a pipe or a device; "
                    "choose another name"
                )
        try:
            lock = FileLock(self.path)
        except LockedError as held:
            raise CheckpointError(
                f"{self.path}: expected a checkpoint that no other training uses, got one that "
                f"{held.process} is using; end that one, or choose another file"
            ) from None
        try:
            about = {"job": {**self.job, **job}, "circumstances": circumstances}
            yield Saver(self, os.path.realpath(self.path), parts, about, unrecorded)
        finally:
            lock.release()


class Saver:
    """Saves a training, and gives back the one that was saved; see `Checkpoint.running`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        absolute: str,
        parts: Mapping[str, Stateful],
        about: dict[str, Any],
        unrecorded: UnrecordedState,
    ) -> None:
        self.path = checkpoint.path
        self._absolute = absolute  # training may change the working folder
        self._checkpoint = checkpoint
        self._form: State = {}
        self._parts = parts
        self._about = about
        self._unrecorded = unrecorded
        self._looks = 0
        self._older = before(self.path)
        self._is_saved = False  # whether the file has the training as it is now
        self._saved = ""  # how much of it the file has
        self._passed = 0  # steps or epochs since the last checkpoint
        self._saved_at = time.monotonic()  # whatever happens to the clock

    def restore(self) -> bool:
        """Put what was saved back into the parts, or check that they can be saved.

        Returns:
            whether there was anything to put back.

        Raises:
            CheckpointError: for a file that is there without ``resume=True``, that is not a whole
                checkpoint, or that is of another training. Nothing has changed then.
            TypeError: if a part has no state, or one that a file cannot hold.
        """
        path = self.path
        if not os.path.exists(path) and self._checkpoint.resume and os.path.exists(self._older):
            _say("warning", "%s is missing; training goes on from %s", path, self._older)
            path = self._older
        own = self._state()
        flatten(own)  # raises for what a file cannot hold, before it is needed
        self._form = form_of(own)
        if not os.path.exists(path):
            return False
        if not self._checkpoint.resume:
            raise WrongCheckpointError(
                f"{path}: expected no file yet, got one; go on from it with "
                "Checkpoint(..., resume=True), or delete it"
            )
        from minibnn.training.job import differences

        state, about = self._read(path)
        self._require_same_job(path, about, own, state)
        different = list(differences(about["circumstances"], self._about["circumstances"]))
        if different:
            warnings.warn(
                f"{path}: training goes on, but from here its last bits will differ from those of "
                f"an uninterrupted one: {'; '.join(different)}",
                UserWarning,
                stacklevel=6,
            )
        loader = "training batches"
        if own[loader].get("seed") != state[loader].get("seed"):
            warnings.warn(
                f"{path}: training goes on with the file's seed of the {loader}, which is another "
                "one than here; for a training with another seed, choose another file",
                UserWarning,
                stacklevel=6,
            )
        for name, part in self._parts.items():
            part.restore(state.get(name, {}))
        self._note_saved()
        _say("info", "%s: resumed after %s", path, self._saved)
        return True

    def note_step(self) -> None:
        """Look whether the first two steps change something that no state has.

        Raises:
            TypeError: if they do, or if they change a state's form.
        """
        self._is_saved = False
        if self._looks < 2:
            self._looks += 1
            if changed := self._unrecorded.changed():
                raise TypeError(self._not_saved(changed))
            if self._looks == 2:
                self._require_same_form(self._state())

    def due(self, *, steps: int = 0, epochs: int = 0) -> bool:
        """Count steps or epochs; whether it is time for a checkpoint."""
        self._is_saved = False
        number, unit = self._checkpoint.interval
        self._passed += steps if unit == "step" else epochs
        if self._looks < 2:  # what no state has is not known yet
            return False
        if unit == "s":
            return time.monotonic() - self._saved_at >= number
        return self._passed >= number

    def save(self) -> None:
        """Write a checkpoint, unless nothing has changed since the last one.

        A failure is logged: it is no reason to lose the training.
        """
        if self._is_saved:
            return
        if self._looks == 2 and (changed := self._unrecorded.changed()):
            self._looks = 3  # say it once
            _say("warning", "%s", self._not_saved(changed))
        try:
            state = self._state()
            self._require_same_form(state)
            write_checkpoint(self._absolute, state, self._about)
            self._note_saved()
        except UnsyncedError as error:
            self._note_saved()
            _say("warning", "%s; training goes on", error)
        except (OSError, CheckpointError, TypeError, MemoryError) as error:
            why = str(error) or "out of memory"
            _say("warning", "%s: no checkpoint was written: %s; training goes on", self.path, why)
        self._passed, self._saved_at = 0, time.monotonic()

    def say_how_to_go_on(self, number: int) -> None:
        """Log that a signal has ended the training, and how it is resumed."""
        name = signal.Signals(number).name
        if self._saved:
            lost = "" if self._is_saved else ", what came later is lost"
            how = "Checkpoint(..., resume=True) goes on from there"
            if self._checkpoint.resume:
                how = "run it again to go on"
            _say(
                "warning", "%s: training is saved in %s after %s%s; %s",
                name, self.path, self._saved, lost, how,
            )  # fmt: skip
        else:
            _say("warning", "%s: nothing is saved", name)

    def _state(self) -> State:
        return {name: part.state() for name, part in self._parts.items()}

    def _note_saved(self) -> None:
        self._is_saved, self._saved = True, str(self._parts["history"])

    def _read(self, path: str) -> tuple[State, dict[str, Any]]:
        try:
            return read_checkpoint(path)
        except CheckpointError as error:
            older = self._older
            if path == older or not os.path.exists(older):
                raise
            try:
                read_checkpoint(older)
            except (CheckpointError, OSError):
                raise error from None
            here, damaged = shlex.quote(path), shlex.quote(path + ".damaged")
            raise CheckpointError(
                f"{error}. The one before it is whole; to go on from it: "
                f"mv {here} {damaged}; mv {shlex.quote(older)} {here}"
            ) from None

    def _require_same_job(self, path: str, about: dict[str, Any], own: State, state: State) -> None:
        from minibnn.training.job import differences

        different = list(differences(about["job"], self._about["job"]))
        then, now = (set(s.get("history", {}).get("columns", ())) for s in (state, own))
        if then != now:  # other metrics, or another evaluate_train
            columns = [", ".join(sorted(some)) or "none" for some in (then - now, now - then)]
            different.append(f"columns of the history: {columns[0]} then, {columns[1]} now")
        if different:
            raise WrongCheckpointError(
                f"{path}: expected a checkpoint of this training, got one of another: "
                f"{'; '.join(different)}; resume with the same data and settings, or choose "
                "another file"
            )
        for name in {**state, **own}:
            if name in USERS_OWN and name in own and name in state:
                continue  # users' own objects may collect more and more
            try:
                require_form(name, own.get(name, {}), state.get(name, {}))
            except ValueError as error:
                raise WrongCheckpointError(f"{path}: {error}") from None

    def _require_same_form(self, state: State) -> None:
        """Raise TypeError for a state that could not be restored."""
        for name, own in self._form.items():
            difference = None if name in USERS_OWN else form_difference(own, state[name])
            if difference is not None:
                where, first, now = difference
                raise TypeError(
                    f"{name}: expected a state of one form throughout, got {where} as {now}, which "
                    f"was {first}; keep its names, shapes and dtypes, and what grows in a list"
                )

    def _not_saved(self, changed: list[str]) -> str:
        names = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
        return (
            f"{self.path}: expected every change in training to be in the state of its object, got "
            f"{names}, which would be lost; extend state() and restore() of its class (State in "
            "docs/extending.md), draw from a RandomStream, keep arrays in a Buffer, and what "
            "backward needs in saved"
        )


def _say(level: str, text: str, *values: object) -> None:
    """Log a message, on a line of its own beside a progress bar."""
    import logging

    from tqdm import tqdm

    try:
        with tqdm.external_write_mode(file=sys.stderr):
            getattr(logging.getLogger("minibnn"), level)(text, *values)
    except ValueError:
        if not getattr(sys.stderr, "closed", False):  # else there is nobody to tell
            raise
