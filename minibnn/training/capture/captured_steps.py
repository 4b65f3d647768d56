"""Epochs of captured steps, or of plain steps if a step cannot be captured."""

from __future__ import annotations

import warnings

from minibnn.backend import Array
from minibnn.backend.capture.graphs import Graphs
from minibnn.checks import integer
from minibnn.data.epochs import Loader
from minibnn.data.loader import DataLoader
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.diverged import DivergedError
from minibnn.training.capture.captured_step import CapturedStep
from minibnn.training.capture.scalars import CannotCapture
from minibnn.training.class_weights import ClassWeights
from minibnn.training.step import OnSteps, PlainSteps, check_loader

# Launching captured work takes the host some microseconds, whatever its length; so many steps share
# one launch.
STEPS_AT_ONCE = 32
# Two steps show how counters grow, the third is the warm-up, and one is left to replay.
FEWEST_STEPS = 4


class CapturedSteps(PlainSteps):
    """Trains a model by replaying a captured step, on a backend that has `graphs`.

    The first two steps are plain steps; the third, the warm-up, takes its scalars from the device.
    Then the step is captured, and all others are replays, except for a last, smaller batch. These
    steps change parameters, running statistics, and the counts of random streams and optimisers
    exactly as `PlainSteps` does.

    A step cannot be captured if a layer reads a value back, a loader makes its batches itself, or a
    state on the host changes from step to step. Then a warning names the cause, and training
    continues with plain steps. (States in global variables are not detected: a captured step keeps
    using the values that it read in the capture.)

    Between epochs, everything may change: rates, schedules, attributes of layers, the loader. If
    something other than a known counter has changed, the step is captured again.

    Args:
        model: see `PlainSteps`.
        loss: see `PlainSteps`.
        optimizer: see `PlainSteps`.
        steps_at_once: the number of steps in one launch.
        clip_norm: see `PlainSteps`.
        class_weights: see `PlainSteps`.

    Attributes:
        refused: why this training is not captured, or None. If it is not None, this object makes
            plain steps only, whatever the reason, even a lack of memory.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        steps_at_once: int = STEPS_AT_ONCE,
        clip_norm: float | None = None,
        class_weights: ClassWeights | None = None,
    ) -> None:
        super().__init__(model, loss, optimizer, clip_norm=clip_norm, class_weights=class_weights)
        self.steps_at_once = integer("CapturedSteps", "steps_at_once", steps_at_once, least=1)
        self.refused: str | None = None
        self._captured: CapturedStep | None = None

    @property
    def captured(self) -> bool:
        """Whether there is a captured step: after the first epoch, unless it was refused."""
        return self._captured is not None and bool(self._captured.captured)

    def epoch(self, loader: Loader, on_steps: OnSteps | None = None) -> Array:
        """As `PlainSteps.epoch`; `on_steps` may be called with many steps at once."""
        check_loader(type(self).__name__, loader)
        backend, graphs = self.model.backend, self.model.backend.graphs
        if self.refused is None and graphs is None:
            self._refuse(f"the {backend.name} captures nothing, {backend.no_graphs}")
        if not isinstance(loader, DataLoader) or not loader.only_gathers():
            if self.refused is None:
                augments = isinstance(loader, DataLoader) and loader.from_arrays()
                own = "changes its batches by augment" if augments else "makes its batches itself"
                self._refuse(f"{type(loader).__name__} {own}")
            return super().epoch(loader, on_steps)
        few = loader.samples // loader.batch_size < FEWEST_STEPS
        # Plain steps raise for these.
        strange = loader.backend is not backend or len(loader.arrays) not in (2, 3)
        if self.refused is not None or graphs is None or few or strange:
            return super().epoch(loader, on_steps)
        with graphs.stream():
            if self._captured is None or not self._captured.fits(self, loader):
                self._captured = None  # frees its memory before the next one allocates
                self._captured = CapturedStep(self, loader)
            return self._run(self._captured, graphs, loader, on_steps)

    def _run(
        self, step: CapturedStep, graphs: Graphs, loader: DataLoader, on_steps: OnSteps | None
    ) -> Array:
        self._running = step.end
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
            except DivergedError as error:  # on the host: a rate too large for the dtype, say
                return step.end(error)
            made = step.done - before
            loader.note_given(made)
            if made and on_steps is not None and on_steps(made):
                break
        return step.end()

    def _announce(self, step: CapturedStep) -> None:
        import logging

        logging.getLogger("minibnn").info(
            "a training step is captured and replayed, up to %d at once", max(step.captured)
        )

    def _refuse(self, why: str, *, frames: int = 3) -> None:
        """Remember the reason, and warn the caller of `epoch`, so many frames above."""
        self.refused = why
        text = f"training without a captured step: {why}"
        warnings.warn(text, UserWarning, stacklevel=frames)
