"""What `fit` measures after each epoch: on which data, and in which columns of the history."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from minibnn.backend import Array
from minibnn.checks import integer
from minibnn.data.epochs import Loader
from minibnn.distributed import Ranks
from minibnn.layers import Layer
from minibnn.losses import Loss, Metric, Task
from minibnn.training.evaluate import device_metrics, samples_at_once
from minibnn.training.progress import columns_of

OF_STEPS = "loss"  # the column with the mean loss of an epoch's steps


class Evaluations:
    """Evaluates a model on some data sets, each every so many epochs.

    Args:
        model: on its device.
        loss: of the training.
        task: the loss's for these data.
        metrics: what to compute beside the loss.
        data: the data sets by name.
        evaluate_train: after every how many epochs the one named "train" is evaluated; None for
            never. The others are evaluated after each.
        ranks: those that share the work, if there are several.

    Attributes:
        columns: their names in the history. If the training set is not evaluated after each epoch,
            the first is the mean loss of the epoch's steps.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        task: Task,
        metrics: Sequence[Metric],
        data: Mapping[str, Loader],
        evaluate_train: int | None,
        ranks: Ranks | None = None,
    ) -> None:
        if evaluate_train is not None:
            evaluate_train = _every(evaluate_train)
        self.model = model
        self.loss = loss
        self.task = task
        self.metrics = metrics
        self.data = {k: v for k, v in data.items() if k != "train" or evaluate_train is not None}
        self.train_every = evaluate_train
        self.ranks = ranks
        steps = [] if evaluate_train == 1 else [OF_STEPS]
        self.columns = [*steps, *columns_of(metrics, list(self.data))]
        self._at_once = {name: samples_at_once(model, its) for name, its in self.data.items()}

    def due(self, epoch: int) -> list[str]:
        """The data sets that are evaluated after this epoch, counted from 1."""
        every = {"train": self.train_every or 1}
        return [name for name in self.data if epoch % every.get(name, 1) == 0]

    def measure(self, epoch: int, stop: Callable[[], bool] | None) -> list[Array]:
        """The losses and metrics that are due, as arrays on the device, without waiting.

        Raises:
            StoppedError: if `stop` returned True in between.
        """
        return [
            device_metrics(
                self.model, self.data[name], self.loss, self.metrics, self.task,
                self._at_once[name], stop, self.ranks,
            )
            for name in self.due(epoch)
        ]  # fmt: skip

    def row(self, epoch: int, values: Sequence[float], losses: Sequence[float]) -> list[float]:
        """The numbers for the columns: nan for what was not measured.

        Args:
            epoch: see `measure`.
            values: what it measured, on the host.
            losses: of the epoch's steps.
        """
        size = 1 + len(self.metrics)
        found = {OF_STEPS: float(np.mean(losses)) if len(losses) else math.nan}
        for i, name in enumerate(self.due(epoch)):
            its = values[i * size : (i + 1) * size]
            found |= dict(zip(columns_of(self.metrics, [name]), its, strict=True))
        return [found.get(column, math.nan) for column in self.columns]

    def loss_not_finite(self, epoch: int, values: Sequence[float]) -> float | None:
        """The first mean loss that is not finite, or None."""
        its = values[:: 1 + len(self.metrics)][: len(self.due(epoch))]
        return next((value for value in its if not math.isfinite(value)), None)


def _every(epochs: int) -> int:
    """The number of epochs between two evaluations of the training set."""
    if isinstance(epochs, bool) or epochs == 0:
        raise ValueError(
            f"fit: expected evaluate_train to be a number of epochs of at least 1, got {epochs}; "
            "write 1 for after each epoch, or None for never"
        )
    return integer("fit", "evaluate_train", epochs, least=1)
