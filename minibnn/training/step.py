"""The training step, and epochs of training steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.checks import require
from minibnn.data.loader import DataLoader
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.diverged import LOSS, DivergedError

# Called with the number of steps that were just made; training stops if it returns True.
OnSteps: TypeAlias = Callable[[int], bool]


class PlainSteps:
    """Trains a model step by step: forward, loss, backward, optimiser.

    Args:
        model: initialised, and on its device.
        loss: for instance ``LogitCrossEntropy()``.
        optimizer: made from the model's parameters.

    Raises:
        TypeError: if an argument has another type, such as a class instead of an object.
        ValueError: if the optimiser holds none of the model's parameters.
        RuntimeError: if the optimiser's parameters were moved after it was made.
    """

    def __init__(self, model: Layer, loss: Loss, optimizer: Optimizer) -> None:
        check_training(type(self).__name__, model, loss, optimizer)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
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

    def epoch(self, loader: DataLoader, on_steps: OnSteps | None = None) -> Array:
        """Train on each batch of the loader's next epoch; of a restored one, on the batches left.

        After a loss or a gradient that is not finite, no parameter is updated. The CPU stops
        immediately. A GPU keeps a flag instead, since reading it in each step would make the host
        wait: it skips all later updates of the epoch itself. (Batch norm's running statistics
        continue to change there; they ignore batches that are not finite.)

        Args:
            loader: batches (x, labels), on the model's device.
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
        for x, labels in loader:
            try:
                losses[done] = self.step(x, labels, allowed)
            except DivergedError as error:
                losses[done] = lost(error)
                done += 1
                break
            verdicts[done] = allowed
            done += 1
            if on_steps is not None and on_steps(1):
                break
        return self._running()

    def step(self, x: Array, labels: Array, allowed: Array) -> Array:
        """Make one training step, with an update only if `allowed` is True; return the loss.

        Raises:
            DivergedError: on the host, if the loss or a gradient is not finite. A device clears
                `allowed` instead.
        """
        y = self.model.forward(x, train=True)
        value = self.loss.forward(y, labels)
        self.model.backward(self.loss.backward(), need_dx=False)
        with self.model.backend.update(allowed):
            if not self.model.backend.all_finite(value):
                raise DivergedError(float(value), None, None, None, LOSS)
            self.optimizer.step()
        return value


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


def check_loader(who: str, loader: DataLoader) -> None:
    """Raise TypeError if `loader` is not a DataLoader."""
    if not isinstance(loader, DataLoader):
        raise TypeError(
            f"{who}: expected a DataLoader, got {type(loader).__name__}; "
            "make one: DataLoader((x, labels), batch_size)"
        )
