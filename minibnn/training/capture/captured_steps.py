"""Epochs of captured steps, and the way back to plain ones."""

from __future__ import annotations

import warnings

from minibnn.backend import Array
from minibnn.backend.capture.graphs import Graphs
from minibnn.checks import integer
from minibnn.data.loader import DataLoader
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.diverged import DivergedError
from minibnn.training.capture.captured_step import CapturedStep
from minibnn.training.capture.scalars import CannotCapture
from minibnn.training.step import OnSteps, PlainSteps, check_loader

# The host needs some microseconds to launch captured work, however long it is; many steps share
# them.
STEPS_AT_ONCE = 32
# Two steps show how counters grow, and a third is the warm-up; then there is one to replay.
FEWEST_STEPS = 4


class CapturedSteps(PlainSteps):
    """Trains a model by replaying a captured step, on a backend that has `graphs`.

    Two steps run as plain ones, a third takes its scalars from the device, and all others are
    replays of the next, which is captured; a last, smaller batch is a plain step. They change
    parameters, running statistics and the counts of streams and optimisers exactly as those of
    `PlainSteps` do. What cannot be captured is named in a warning, and training goes on with plain
    steps: a layer that reads a value back, a loader that makes its batches itself, whatever keeps a
    state on the host that changes from step to step. (A state in a global variable cannot be seen.
    What a step reads from there stays as it was when it was captured.)

    Between epochs everything may change, such as rates, schedules, attributes of layers, the
    loader. If more than known counters has changed, the step is captured anew.

    Args:
        model: see `PlainSteps`.
        loss: see `PlainSteps`.
        optimizer: see `PlainSteps`.
        steps_at_once: how many steps are replayed at once.

    Attributes:
        refused: why this training is not captured, or None. It is not tried again with this object,
            whatever the reason was, a lack of memory too.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        steps_at_once: int = STEPS_AT_ONCE,
    ) -> None:
        super().__init__(model, loss, optimizer)
        self.steps_at_once = integer("CapturedSteps", "steps_at_once", steps_at_once, least=1)
        self.refused: str | None = None
        self._captured: CapturedStep | None = None

    @property
    def captured(self) -> bool:
        """Whether there is a captured step: from the first epoch on, if nothing prevents it."""
        return self._captured is not None and bool(self._captured.captured)

    def epoch(self, loader: DataLoader, on_steps: OnSteps | None = None) -> Array:
        """As `PlainSteps.epoch`; `on_steps` may be told of many steps at once."""
        check_loader(type(self).__name__, loader)
        backend, graphs = self.model.backend, self.model.backend.graphs
        if self.refused is None and graphs is None:
            self._refuse(f"the {backend.name} captures nothing, {backend.no_graphs}")
        if self.refused is None and not loader.only_gathers():
            self._refuse(f"{type(loader).__name__} makes its batches itself")
        few = loader.samples // loader.batch_size < FEWEST_STEPS
        strange = loader.backend is not backend or len(loader.arrays) != 2  # plain steps say so
        if self.refused is not None or graphs is None or few or strange:
            return super().epoch(loader, on_steps)
        with graphs.stream():
            if self._captured is None or not self._captured.fits(self, loader):
                self._captured = None  # its memory goes before that of the next one comes
                self._captured = CapturedStep(self.model, self.loss, self.optimizer, loader)
            return self._run(self._captured, graphs, loader, on_steps)

    def _run(
        self, step: CapturedStep, graphs: Graphs, loader: DataLoader, on_steps: OnSteps | None
    ) -> Array:
        try:
            step.begin(loader)
        except CannotCapture as error:
            self._refuse(str(error), frames=4)
        while step.done < len(loader):
            before = step.done
            try:
                if self.refused is not None or step.captured:
                    step.go_on()
                elif len(step.states) < 2:
                    step.learn()
                else:
                    step.warm_up()
                    step.capture(graphs, self.steps_at_once)
                    self._announce(step)
            except CannotCapture as error:
                self._refuse(str(error), frames=4)
            except DivergedError as error:  # on the host: a rate, say, that the dtype cannot hold
                return step.end(error)
            made = step.done - before
            if made and on_steps is not None and on_steps(made):
                break
        return step.end()

    def _announce(self, step: CapturedStep) -> None:
        import logging

        logging.getLogger("minibnn").info(
            "a training step is captured and replayed, up to %d at once", max(step.captured)
        )

    def _refuse(self, why: str, *, frames: int = 3) -> None:
        """Remember it, and tell whoever called `epoch`, so many frames above."""
        self.refused = why
        text = f"training without a captured step: {why}"
        warnings.warn(text, UserWarning, stacklevel=frames)
