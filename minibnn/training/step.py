"""The training step, and epochs of training steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.checks import require
from minibnn.data.epochs import Loader
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.clipping import check_norm, clip_gradients
from minibnn.optimizers.diverged import LOSS, DivergedError
from minibnn.training.class_weights import ClassWeights

# Called with the number of steps that were just made; training stops if it returns True.
OnSteps: TypeAlias = Callable[[int], bool]


class PlainSteps:
    """Trains a model step by step: forward, loss, backward, optimiser.

    Args:
        model: initialised, and on its device.
        loss: for instance ``LogitCrossEntropy()``.
        optimizer: made from the model's parameters.
        clip_norm: the largest global norm of the gradients, see `clip_gradients`; None for any.
        class_weights: weighs each sample by its class, too; None for equal weights.

    Raises:
        TypeError: if an argument has another type, such as a class instead of an object.
        ValueError: if the optimiser holds none of the model's parameters; for a `clip_norm` that is
            not positive.
        RuntimeError: if the optimiser's parameters were moved after it was made.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        clip_norm: float | None = None,
        class_weights: ClassWeights | None = None,
    ) -> None:
        who = type(self).__name__
        check_training(who, model, loss, optimizer)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.clip_norm = None if clip_norm is None else check_norm(who, clip_norm, "clip_norm")
        self.class_weights = class_weights
        self._running: Callable[[], Array] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, {self.loss!r}, {self.optimizer!r})"

    @property
    def captured(self) -> bool:
        """Whether the steps are replays of a captured step."""
        return False

    def losses_so_far(self) -> Array:
        """The losses of the running epoch's batches; see `epoch`. For `on_steps`."""
        if self._running is None:
            raise RuntimeError(f"{type(self).__name__}: expected an epoch to be running, got none")
        return self._running()

    def epoch(self, loader: Loader, on_steps: OnSteps | None = None) -> Array:
        """Train on each batch of the loader's next epoch; of a restored one, on the batches left.

        After a loss or a gradient that is not finite, no parameter is updated. The CPU stops
        immediately. A GPU keeps a flag instead, since reading it in each step would make the host
        wait: it skips all later updates of the epoch itself. (Batch norm's running statistics
        continue to change there; they ignore batches that are not finite.)

        Args:
            loader: batches (x, labels) or (x, labels, weights), on the model's device.
            on_steps: see `OnSteps`; called after each step.

        Returns:
            the losses of the batches up to where training stopped, float64, on the device; nan for
            a batch that was refused because of its gradients.

        Raises:
            TypeError: if `loader` is not a DataLoader.
        """
        check_loader(type(self).__name__, loader)
        xp = self.model.backend.xp
        losses = xp.zeros(len(loader), dtype=np.float64)
        allowed, verdicts = xp.ones((), dtype=bool), xp.ones(len(loader), dtype=bool)
        done = first = loader.position  # 0, but in an epoch that was restored
        self._running = lambda: with_refused(losses[first:done], verdicts[first:done])
        for x, labels, *weights in loader:
            try:
                losses[done] = self.step(x, labels, allowed, *weights)
            except DivergedError as error:
                losses[done] = lost(error)
                done += 1
                break
            verdicts[done] = allowed
            done += 1
            if on_steps is not None and on_steps(1):
                break
        return self._running()

    def step(self, x: Array, labels: Array, allowed: Array, weights: Array | None = None) -> Array:
        """Make one training step, with an update only if `allowed` is True; return the loss.

        Shapes: x (batch, ...); labels as the loss takes them; weights (batch,), or None for 1 each.

        Raises:
            DivergedError: on the host, if the loss or a gradient is not finite. A device clears
                `allowed` instead.
        """
        if self.class_weights is not None:
            weights = self.class_weights.times(labels, weights)
        y = self.model.forward(x, train=True)
        value = self.loss.weighted_forward(y, labels, weights)
        self.model.backward(self.loss.backward(), need_dx=False)
        self.update(value, allowed)
        return value

    def update(self, value: Array, allowed: Array) -> None:
        """The optimiser's step on the gradients of a batch with this loss, if `allowed` is True."""
        if self.clip_norm is not None:
            clip_gradients(self.optimizer, self.clip_norm)
        with self.model.backend.update(allowed):
            if not self.model.backend.all_finite(value):
                raise DivergedError(float(value), None, None, None, LOSS)
            self.optimizer.step()


def lost(error: DivergedError) -> float:
    """The loss to record for a step that the host refused: nan, if the loss was not the reason."""
    return error.value if error.what == LOSS else math.nan


def with_refused(losses: Array, verdicts: Array) -> Array:
    """The losses, with nan for the first refused update, so that it can be found.

    Shapes: losses (steps,); verdicts bool (steps,), whether the update was allowed.
    """
    xp = backend_of(losses).xp
    first = ~verdicts
    first[1:] &= verdicts[:-1]
    return xp.where(first & xp.isfinite(losses), math.nan, losses)


def check_training(who: str, model: Layer, loss: Loss, optimizer: Optimizer) -> None:
    """Raise unless this optimiser can train this model with this loss."""
    require(who, "model", model, Layer)
    require(who, "loss", loss, Loss)
    require(who, "optimizer", optimizer, Optimizer)
    trained = {id(p) for p in optimizer.parameters}
    if trained.isdisjoint(id(p) for p in model.parameters()):
        raise ValueError(
            f"{who}: the optimiser holds none of the model's parameters; make it with "
            "Adam(model.parameters(), ...)"
        )
    optimizer.require_intact()


def check_loader(who: str, loader: Loader) -> None:
    """Raise TypeError if `loader` is not a loader."""
    if not isinstance(loader, Loader):
        raise TypeError(
            f"{who}: expected a DataLoader, got {type(loader).__name__}; "
            "make one: DataLoader((x, labels), batch_size)"
        )
