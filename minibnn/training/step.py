"""The training step, and an epoch of them."""

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

# Told after some steps how many they were; True asks to stop there.
OnSteps: TypeAlias = Callable[[int], bool]


class PlainSteps:
    """Trains a model step by step: forward, loss, backward, optimiser.

    Args:
        model: initialised, and on its device.
        loss: for instance ``LogitCrossEntropy()``.
        optimizer: made from the model's parameters.

    Raises:
        TypeError: for something else, a class instead of an object, say.
        ValueError: for an optimiser of another model.
        RuntimeError: for an optimiser whose parameters were moved since.
    """

    def __init__(self, model: Layer, loss: Loss, optimizer: Optimizer) -> None:
        check_training(type(self).__name__, model, loss, optimizer)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, {self.loss!r}, {self.optimizer!r})"

    @property
    def captured(self) -> bool:
        """Whether steps are replays of a captured one."""
        return False

    def epoch(self, loader: DataLoader, on_steps: OnSteps | None = None) -> Array:
        """Train on each batch of the loader's next epoch.

        After a loss or a gradient that is not finite no parameter is updated. The host stops right
        there. A device is not asked, since that would make every step wait: it carries the verdict
        along, and every later update of the epoch is refused on the device itself. (Batch norm's
        running statistics do go on there; they take in finite batches only.)

        Args:
            loader: batches (x, labels), on the model's device.
            on_steps: see `OnSteps`; told after each step.

        Returns:
            the loss of each batch up to where it stopped, float64, on the device; nan for a batch
            that was refused for its gradients.

        Raises:
            TypeError: if it is not a DataLoader.
        """
        check_loader(type(self).__name__, loader)
        xp = self.model.backend.xp
        losses = xp.zeros(len(loader), dtype=np.float64)
        allowed, verdicts = xp.ones((), dtype=bool), xp.ones(len(loader), dtype=bool)
        done = 0
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
        return with_refused(losses[:done], verdicts[:done])

    def step(self, x: Array, labels: Array, allowed: Array) -> Array:
        """One training step, unless `allowed` is False; returns the loss.

        Raises:
            DivergedError: on the host, for a loss or a gradient that is not finite. A device makes
                `allowed` False instead.
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
    """The loss of a step that the host refused: nan, if it was refused for something else."""
    return error.value if error.what == LOSS else math.nan


def with_refused(losses: Array, verdicts: Array) -> Array:
    """`losses`, with nan for the update that was refused first, if it was not for its loss.

    Shapes: losses (steps,), verdicts bool (steps,), True as long as updates were allowed.
    """
    xp = backend_of(losses).xp
    first = ~verdicts
    first[1:] &= verdicts[:-1]
    return xp.where(first & xp.isfinite(losses), math.nan, losses)


def check_training(who: str, model: Layer, loss: Loss, optimizer: Optimizer) -> None:
    """Raise unless these three can be trained together."""
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
    """Raise unless it is a loader."""
    if not isinstance(loader, DataLoader):
        raise TypeError(
            f"{who}: expected a DataLoader, got {type(loader).__name__}; "
            "make one: DataLoader((x, labels), batch_size)"
        )
