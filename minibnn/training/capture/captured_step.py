"""One training step: run as a plain step, then captured, then replayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from minibnn.backend import Array
from minibnn.backend.capture.graphs import CapturedWork, Graphs
from minibnn.data.loader import DataLoader
from minibnn.optimizers import FlatOptimizer
from minibnn.optimizers.diverged import DivergedError
from minibnn.training.capture.host_state import Counter, HostState
from minibnn.training.capture.operations import begin_step, gather_batch, note_step
from minibnn.training.capture.scalars import CannotCapture, OptimizerScalars, StreamKeys, growth
from minibnn.training.step import PlainSteps, lost, with_refused

LOSSES = (np.float32, np.float64)  # dtypes of losses that need no conversion


class CapturedStep:
    """A step's captured work, and the device arrays that it uses.

    Attributes:
        done: the number of the epoch's steps that were made or queued.
        captured: the captured work, by its number of steps; empty before `capture`.
        states: the host's states before the first steps, which are plain.
    """

    def __init__(self, steps: PlainSteps, loader: DataLoader) -> None:
        self._plain = PlainSteps(
            steps.model,
            steps.loss,
            steps.optimizer,
            clip_norm=steps.clip_norm,
            class_weights=steps.class_weights,
        )
        self.backend = backend = steps.model.backend
        self.arrays = loader.arrays
        self.batch, self.full = loader.batch_size, loader.samples // loader.batch_size
        xp = backend.xp
        self.losses = xp.zeros(len(loader), np.float64)
        self.verdicts = xp.ones(len(loader), bool)  # whether each update was allowed
        self.allowed = xp.ones((), bool)
        self.order = xp.zeros(self.full * self.batch, np.int64)
        self.rest: Array = None  # the samples of a last, smaller batch
        self.counter, self.now = xp.zeros((), np.int64), xp.zeros((), np.int64)
        self._set_tables([])
        self.captured: dict[int, CapturedWork] = {}
        self.states: list[HostState] = []
        self.schedules: list[HostState] = []  # the schedules' states then; epochs may change them
        self.first = self.done = 0  # the step that the epoch begins with here, and the next step

    def fits(self, steps: PlainSteps, loader: DataLoader) -> bool:
        """Whether the captured work is still valid: same loader, and nothing else changed."""
        plain = self._plain
        stream = self.backend.xp.cuda.get_current_stream()
        same = (
            bool(self.captured)
            and plain.model is steps.model
            and plain.loss is steps.loss
            and plain.optimizer is steps.optimizer
            and plain.clip_norm == steps.clip_norm
            and plain.class_weights is steps.class_weights
            and all(work.is_on(stream) for work in self.captured.values())
            and len(self.losses) == len(loader)
            and self.batch == loader.batch_size
            and len(self.arrays) == len(loader.arrays)
            and all(a is b for a, b in zip(self.arrays, loader.arrays, strict=True))
        )
        try:
            return same and not self.states[-1].changed(self._state())
        except CannotCapture:  # the next CapturedStep reports the reason
            return False

    def begin(self, loader: DataLoader) -> None:
        """Begin the loader's next epoch, or go on with a restored one: upload order and scalars.

        Raises:
            CannotCapture: if a step of the epoch has no scalars. Plain steps are still possible.
        """
        epoch, self.first = loader.begin_epoch()
        order = self.backend.asarray(loader.order(epoch))
        self.order[...] = order[: self.order.size]
        self.rest = order[self.order.size :]
        self.counter.fill(self.first)
        self.allowed.fill(True)
        self.verdicts.fill(True)
        self.done = self.first
        if self.captured:
            try:
                self._fill_tables()
            except CannotCapture:
                self.captured = {}
                raise

    def end(self, error: DivergedError | None = None) -> Array:
        """The losses of the epoch so far; see `PlainSteps.epoch`.

        Args:
            error: the error by which the host refused the next step, if it did.
        """
        if error is not None:
            self.losses[self.done] = lost(error)
            self.done += 1
        made = slice(self.first, self.done)
        return with_refused(self.losses[made], self.verdicts[made])

    def learn(self) -> None:
        """Make a plain step, after recording the host's state."""
        self._look()
        self._step()
        self.done += 1

    def warm_up(self) -> None:
        """Make a step with scalars from the device, as a captured step gets them.

        Its first run creates what a capture cannot, such as kernels for such scalars.

        Raises:
            CannotCapture: with the reason; the step is undone.
        """
        self._look()
        self._require_unchanged()
        after = self.states[-1]
        grown = growth(self.states)
        with _for_each_step():
            self._set_tables(grown)
        self._fill_tables()
        copies: list[tuple[Array, Array]] = []
        try:
            for a in (*after.arrays, self.allowed):
                copies.append((a, a.copy()))
            self._step_by_tables()
        except Exception as error:  # such a step failed, where plain steps did not: undo it
            for a, before_it in copies:
                a[...] = before_it
            self.counter.fill(self.done)
            raise CannotCapture(f"with scalars from the device: {_told(error)}") from error
        self._count(1)

    def _require_unchanged(self) -> None:
        """Raise CannotCapture if the plain steps changed anything on the host but counters."""
        hints = (
            "a captured step would repeat it as it was; write into arrays (a[...] = values), keep "
            "a count in an array of shape () on the device, and draw from a RandomStream",
            "the rates of captured steps are computed before them; compute a rate from the number "
            "of updates alone",
        )
        for (_, before, after), hint in zip((self.states, self.schedules), hints, strict=True):
            if changed := before.changed(after):
                names = ", ".join(changed[:3])
                raise CannotCapture(f"{names} changed during a step, and {hint}")

    def capture(self, graphs: Graphs, most: int) -> None:
        """Capture a step, once and up to `most` times in a row, without making it.

        Raises:
            CannotCapture: with the reason.
        """
        times = sorted({1, most}) if self.full >= 2 * most else [1]
        try:
            self.captured = graphs.capture(self._step_by_tables, times)
        except Exception as error:  # whatever a layer does that cannot be captured
            raise CannotCapture(_told(error)) from error
        finally:  # a captured forward has computed no values that a backward could use
            self._plain.model.forget()
            self._plain.loss.saved = None

    def go_on(self) -> None:
        """Make the next steps: replay as many as were captured in a row, or make a plain step."""
        times = max((n for n in self.captured if n <= self.full - self.done), default=0)
        if times:
            self.captured[times].replay()
            self._count(times)
        else:  # nothing captured, or the last, smaller batch
            self._step()
            self.done += 1

    def _step(self) -> None:
        """The step itself. A captured step never has the last, smaller batch."""
        run, floats, keys = self.backend.run, self.floats, self.keys
        run(begin_step, self.counter, self.now, floats.row, floats.rows, keys.row, keys.rows)
        if self.done < self.full:
            batch = run(gather_batch, self.arrays, self.order, self.now, self.batch)
        else:
            batch = tuple(a.take(self.rest, axis=0) for a in self.arrays)
        x, labels, *weights = batch
        loss = self._plain.step(x, labels, self.allowed, *weights)
        if getattr(loss, "dtype", None) not in LOSSES:  # a user's loss; this may be an upload
            loss = self.backend.asarray(loss).astype(np.float64)
        run(note_step, self.losses, self.verdicts, self.now, loss, self.allowed)

    def _step_by_tables(self) -> None:
        """The step, with all per-step scalars from the device."""
        with self.floats.in_charge(), self.keys.in_charge():
            self._step()

    def _set_tables(self, grown: list[tuple[Counter, int]]) -> None:
        dtype, steps = self._plain.model.dtype, len(self.losses)
        self.growth = grown
        self.floats = OptimizerScalars(self.backend, dtype, steps, grown)
        self.keys = StreamKeys(self.backend, np.dtype(np.uint32), steps, grown)

    def _fill_tables(self) -> None:
        """Compute the scalars of the epoch's remaining steps.

        Raises:
            CannotCapture: if a step has none, because a schedule ends or a rate overflows, for
                example. Training may stop before that step.
        """
        with _for_each_step():
            self.floats.fill(self.done)
            self.keys.fill(self.done)

    def _count(self, steps: int) -> None:
        """Advance the host's counters by steps that the device makes on its own."""
        for counter, grows in self.growth:
            counter.set(counter.value + steps * grows)
        self.done += steps

    def _look(self) -> None:
        """Record the host's state, and the schedules' states."""
        self.states.append(self._state())
        owners = [counter.owner for counter, _ in self.states[-1].counts]
        optimizers = [owner for owner in owners if isinstance(owner, FlatOptimizer)]
        roots = {f"{type(o).__name__}[{i}].schedule": o.schedule for i, o in enumerate(optimizers)}
        self.schedules.append(self._host_state(**roots))

    def _state(self) -> HostState:
        plain = self._plain
        return self._host_state(
            model=plain.model, loss=plain.loss, optimizer=plain.optimizer, tf32=self.backend.tf32
        )

    def _host_state(self, **roots: object) -> HostState:
        try:
            return HostState(self.backend.array_type, **roots)
        except Exception as error:  # a user's attribute raises when it is read
            raise CannotCapture(f"the host's state cannot be seen: {_told(error)}") from error


@contextmanager
def _for_each_step() -> Iterator[None]:
    """While entered, whatever goes wrong when scalars are computed in advance is CannotCapture."""
    try:
        yield
    except CannotCapture:
        raise
    except Exception as error:
        raise CannotCapture(f"a step of this epoch has no scalars: {_told(error)}") from error


def _told(error: Exception) -> str:
    """An error as text, with the layer that raised it."""
    notes = "".join(f", {note}" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error}{notes}"
