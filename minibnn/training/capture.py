"""Training by a recorded step: the same step as `PlainSteps`, without Python between its kernels.

On a GPU the kernels of a small network take a few microseconds each, and Python needs longer than
that to queue the next one. So a step is recorded once, as a CUDA graph, and replayed for the rest
of the training. What is recorded is the plain step: layers, loss and optimiser know nothing of it.

A replay repeats the same operations on the same memory. Three things differ from step to step all
the same, and the device finds them by a counter of steps that it keeps itself:

- the batch: the data set lies on the device, and the order of the epoch beside it;
- numbers of the host (learning rates, keys of random numbers): those of the whole epoch are written
  into tables before it begins, see `Backend.numbers`;
- the place where the loss is noted.
"""

from __future__ import annotations

import warnings

import numpy as np

from minibnn.backend import Array, Questions, StepTables
from minibnn.backend.capture.graphs import Recording
from minibnn.backend.capture.kept_signs import KeptSigns
from minibnn.checks import integer
from minibnn.data.loader import DataLoader
from minibnn.functions import SignSTE
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Adam, Optimizer, OptimizerGroup
from minibnn.training.host_state import HostState
from minibnn.training.step import OnSteps, PlainSteps, check_loader
from minibnn.training.step_numbers import CannotRecord, NumberTables, Series, asking, find_series

# The host needs some microseconds to launch a recording, however long it is; many steps share them.
STEPS_A_RECORDING = 32
# Two steps show what a step asks for, and a third is the rehearsal; then there is one to replay.
FEWEST_STEPS = 4
LOSSES = (np.float32, np.float64)  # what a loss may be without a conversion


class RecordedSteps(PlainSteps):
    """Trains a model by replaying a recorded step, on a backend that records.

    The first three steps run as they are, and all others are replays of a recording of the next.
    They change parameters, running statistics and the counts of draws and updates exactly as those
    of `PlainSteps` do. What cannot be recorded is named in a warning, and training goes on with
    plain steps: a layer that reads a value back, a loader that makes its batches itself, whatever
    keeps a state on the host that changes from step to step. (A state in a global variable cannot
    be seen. What a step reads from there stays as it was when it was recorded.)

    Between epochs everything may change, such as rates, schedules, attributes of layers, the
    loader. If more than known counters has changed, a new recording is made.

    Args:
        model: see `PlainSteps`.
        loss: see `PlainSteps`.
        optimizer: see `PlainSteps`.
        steps_a_recording: how many steps are replayed at once.

    Attributes:
        refused: why this training is not recorded, or None.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        steps_a_recording: int = STEPS_A_RECORDING,
    ) -> None:
        super().__init__(model, loss, optimizer)
        self.steps_a_recording = integer(
            "RecordedSteps", "steps_a_recording", steps_a_recording, least=1
        )
        self.refused: str | None = None
        self._tape: _Tape | None = None

    @property
    def recorded(self) -> bool:
        """Whether there is a recording: from the first epoch on, if nothing speaks against it."""
        return self._tape is not None and bool(self._tape.recordings)

    def epoch(self, loader: DataLoader, on_steps: OnSteps | None = None) -> Array:
        """As `PlainSteps.epoch`; `on_steps` may be told of many steps at once."""
        check_loader(type(self).__name__, loader)
        backend = self.model.backend
        if self.refused is None and not backend.records:
            self._refuse(f"the {backend.name} does not record, {backend.records_not}")
        if self.refused is None and not loader.only_gathers():
            self._refuse(f"{type(loader).__name__} makes its batches itself")
        few = loader.samples // loader.batch_size < FEWEST_STEPS
        strange = loader.backend is not backend or len(loader.arrays) != 2  # plain steps say so
        if self.refused is not None or few or strange:
            return super().epoch(loader, on_steps)
        with backend.stream():
            tape = self._tape
            if tape is None or not tape.fits(loader):
                tape = self._tape = _Tape(self, loader)
            return self._run(tape, loader, on_steps)

    def _run(self, tape: _Tape, loader: DataLoader, on_steps: OnSteps | None) -> Array:
        tape.begin(loader)
        while tape.done < len(tape.losses):
            before = tape.done
            if self.refused is not None or tape.recordings:
                tape.go_on()
            else:
                try:
                    if len(tape.begins) < 2:
                        tape.learn()
                    else:
                        tape.rehearse()
                        tape.record(self.steps_a_recording)
                        self._announce(tape)
                except CannotRecord as error:
                    self._refuse(str(error), frames=4)
            made = tape.done - before
            if made and on_steps is not None and on_steps(made):
                break
        return tape.losses[: tape.done].copy()

    def _state(self) -> HostState:
        try:
            return HostState(
                self.model.backend.array_type,
                model=self.model,
                loss=self.loss,
                optimizer=self.optimizer,
                tf32=self.model.backend.tf32,
            )
        except Exception as error:  # somebody's attribute that raises when it is looked at
            raise CannotRecord(f"the host's state cannot be seen: {_told(error)}") from error

    def _announce(self, tape: _Tape) -> None:
        import logging

        logging.getLogger("minibnn").info(
            "a training step is recorded and replayed, up to %d at once", max(tape.recordings)
        )

    def _refuse(self, why: str, *, frames: int = 3) -> None:
        """Remember it, and tell whoever called `epoch`, so many frames above."""
        self.refused = why
        text = f"training without a recorded step: {why}"
        warnings.warn(text, UserWarning, stacklevel=frames)


class _Tape:
    """A step's recordings, and the arrays on the device that they work on.

    Attributes:
        losses: of the epoch's batches.
        done: how many of its steps were made, or queued.
        recordings: by how many steps each makes; empty before `record`.
        begins: the host's state before the first steps, which ran plainly.
    """

    def __init__(self, steps: RecordedSteps, loader: DataLoader) -> None:
        self.steps = steps
        self.backend = backend = steps.model.backend
        self.arrays = loader.arrays
        self.batch, self.full = loader.batch_size, loader.samples // loader.batch_size
        xp = backend.xp
        self.losses = xp.zeros(len(loader), np.float64)
        self.all_finite = xp.ones((), bool)
        self.order = xp.zeros(self.full * self.batch, np.int64)
        self.rest: Array = None  # of the samples, for a last, smaller batch
        self.counter, self.now = xp.zeros((), np.int64), xp.zeros((), np.int64)
        self.numbers = self._tables([])
        self.recordings: dict[int, Recording] = {}
        self.begins: list[HostState] = []
        self.asked: list[Questions] = []
        self.series: list[Series] = []
        self.changes: list[int] = []  # of the counters, in a step
        self.done = 0

    def fits(self, loader: DataLoader) -> bool:
        """Whether the recordings are still right: the same loader, and nothing else has changed."""
        stream = self.backend.xp.cuda.get_current_stream()
        same = (
            bool(self.recordings)
            and all(recording.is_on(stream) for recording in self.recordings.values())
            and len(self.losses) == len(loader)
            and self.batch == loader.batch_size
            and all(a is b for a, b in zip(self.arrays, loader.arrays, strict=True))
            and all(series.next_count() is not None for series in self.series)
        )
        try:
            return same and not self.begins[-1].changed(self.steps._state())
        except CannotRecord:  # a new tape will say why
            return False

    def begin(self, loader: DataLoader) -> None:
        """Take the loader's next epoch: what it needs of the host goes to the device."""
        order = self.backend.asarray(loader.order(loader.epoch))
        loader.epoch += 1
        self.order[...] = order[: self.order.size]
        self.rest = order[self.order.size :]
        self.counter.fill(0)
        self.all_finite.fill(True)
        self.done = 0
        if self.recordings:
            self.numbers.fill(0)
            self._refresh_signs()

    def learn(self) -> None:
        """Make a step, and see what it asks for and what it changes on the host."""
        self.begins.append(self.steps._state())
        self.asked.append(Questions())
        with self.asked[-1].in_charge():
            self._step()
        self.done += 1

    def rehearse(self) -> None:
        """Make a step with numbers from the device, as a recorded one gets them.

        So everything is ready that its first run has to make: kernels for such numbers, say.

        Raises:
            CannotRecord: saying why; the step is not made then.
        """
        self.begins.append(self.steps._state())
        _, before, after = self.begins
        changed = before.changed(after)
        if changed:
            raise CannotRecord(
                f"{', '.join(changed[:3])} changed during a step, and a recorded step would repeat "
                "it as it was; keep arrays in place (a[...] = values), and counts in a Draws"
            )
        self.series = find_series([q.asked for q in self.asked], self.begins)
        self.changes = [b - a for (_, a), (_, b) in zip(before.counts, after.counts, strict=True)]
        self.numbers = self._tables(self.series)
        self.numbers.fill(self.done)
        self.numbers.signs = self._keep_signs()
        self._refresh_signs()
        copies = [(a, a.copy()) for a in after.arrays]
        try:
            with self.numbers.in_charge():
                self._step()
        except Exception as error:  # with a number it would have run: undo what it did
            for a, before_it in copies:
                a[...] = before_it
            self._as_before(after)
            self.counter.fill(self.done)
            raise CannotRecord(f"with numbers from the device: {_told(error)}") from error
        self.done += 1

    def record(self, most: int) -> None:
        """Record a step, alone and many times in a row, without making one.

        Raises:
            CannotRecord: saying why.
        """
        before = self.steps._state()
        lanes = _has_only_our_layers(self.steps.model)
        self.numbers.recording = True
        try:
            with self.numbers.in_charge():
                times = sorted({1, most}) if self.full >= 2 * most else [1]
                self.recordings = self.backend.record(self._step, times, lanes=lanes)
        except Exception as error:  # whatever a layer does that cannot be recorded
            raise CannotRecord(_told(error)) from error
        finally:
            self.numbers.recording = False
            self._as_before(before)  # recording is not doing

    def _as_before(self, state: HostState) -> None:
        """Set the host's counters back, and forget a forward without its backward."""
        for counter, value in state.counts:
            counter.set(value)
        self.steps.model.forget()
        self.steps.loss.saved = None

    def go_on(self) -> None:
        """Make the next steps, as many as one recording has."""
        times = max((n for n in self.recordings if n <= self.full - self.done), default=0)
        if not times:  # no recording, or the last, smaller batch
            self._step()
            self.done += 1
            return
        self.recordings[times].replay()
        self.done += times
        for (counter, _), change in zip(self.begins[-1].counts, self.changes, strict=True):
            counter.set(counter.value + times * change)

    def _step(self) -> None:
        """The step itself. What is recorded never has the last, smaller batch."""
        backend, steps, numbers = self.backend, self.steps, self.numbers
        backend.begin_step(StepTables(self.counter, self.now, numbers.floats, numbers.float_table,
                                      numbers.keys, numbers.key_table))  # fmt: skip
        if self.done < self.full:
            x, labels = backend.gather_batch(self.arrays, self.order, self.now, self.batch)
        else:
            x, labels = (backend.gather(a, self.rest) for a in self.arrays)
        value: Array = steps.loss.forward(steps.model.forward(x, train=True), labels)
        if getattr(value, "dtype", None) not in LOSSES:
            value = backend.asarray(value).astype(np.float64)  # a user's loss; an upload, perhaps
        with backend.aside(value):
            backend.note_loss(self.losses, self.all_finite, self.now, value)
        steps.model.backward(steps.loss.backward(), need_dx=False)
        backend.join()
        with backend.update(self.all_finite), asking(steps.optimizer, numbers.recording):
            steps.optimizer.step()
        backend.note_refused(self.losses, self.all_finite, self.now)

    def _keep_signs(self) -> KeptSigns | None:
        """Ready signs of the weights that layers see as such, and that Adam changes."""
        optimizer, model = self.steps.optimizer, self.steps.model
        members = optimizer.optimizers if type(optimizer) is OptimizerGroup else [optimizer]
        adams = [m for m in members if type(m) is Adam] if _has_only_our_layers(model) else []
        held = {id(p) for m in adams for p in m.parameters}
        quantized = model.named_quantized()
        weights = [p.data for _, p, f in quantized if type(f) is SignSTE and id(p) in held]
        stores = [m.store.data for m in adams]
        return self.backend.keep_signs(stores, weights) if weights else None

    def _refresh_signs(self) -> None:
        if self.numbers.signs is not None:
            self.numbers.signs.refresh(self.backend.binarize)

    def _tables(self, series: list[Series]) -> NumberTables:
        return NumberTables(self.backend, self.steps.model.dtype, len(self.losses), series)


def _has_only_our_layers(model: Layer) -> bool:
    """Whether all layers are minibnn's: they look at no gradient of a weight in their backward.

    Only then may these be computed beside what follows. And only then does nobody change a weight
    but the optimiser, so that signs of weights may be kept.
    """
    ours = type(model).__module__.startswith("minibnn.")
    return ours and all(map(_has_only_our_layers, model.children()))


def _told(error: Exception) -> str:
    """An error in a line, with where in the model it was raised."""
    notes = "".join(f", {note}" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error}{notes}"
