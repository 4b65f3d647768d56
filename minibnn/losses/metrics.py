"""The metrics that losses report by themselves."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from minibnn.backend import Array
from minibnn.losses.task import Metric, Task


class Accuracy(Metric):
    """The share of samples whose class is predicted."""

    name, column, kind = "accuracy", "acc", "classes"

    def add(
        self, sums: Array, task: Task, outputs: Array, targets: Array, weights: Array | None
    ) -> None:
        """The number of right samples, or the sum of their weights."""
        if weights is None:
            sums[0] += task.count_right(outputs, targets)
        else:
            sums[0] += (weights.astype(np.float64) * task.right(outputs, targets)).sum()


class OutputMetric(Metric):
    """A mean over all samples and outputs of what `each` gives."""

    @abstractmethod
    def each(self, task: Task, outputs: Array, targets: Array) -> Array:
        """A number for each output of each sample: (N, ...)."""

    def size(self, task: Task) -> int:
        """Two: the sum of these numbers, and how many they are."""
        return 2

    def add(
        self, sums: Array, task: Task, outputs: Array, targets: Array, weights: Array | None
    ) -> None:
        """The sum of the numbers and how many they are, each times its sample's weight."""
        numbers = self.each(task, outputs, targets)
        if weights is None:
            sums[0] += numbers.sum(dtype=np.float64)
            sums[1] += numbers.size
        else:
            w, samples = weights.astype(np.float64), len(numbers)
            sums[0] += (w * numbers.reshape(samples, -1).sum(axis=1, dtype=np.float64)).sum()
            sums[1] += w.sum() * (numbers.size // samples)

    def value(self, sums: Array, weight: Array | float) -> Array:
        """The sum over the number."""
        return sums[0] / sums[1]


class LabelAccuracy(OutputMetric):
    """The share of single labels that are predicted, over all samples and labels."""

    name, column, kind = "label_accuracy", "label_acc", "several labels"

    def each(self, task: Task, outputs: Array, targets: Array) -> Array:
        """Whether each label is predicted."""
        return task.right(outputs, targets)


class MeanAbsoluteError(OutputMetric):
    """The mean distance between output and target, over all samples and outputs.

    .. equations::

        MAE = 1/(N K) sum_n sum_k |y[n, k] - t[n, k]|
    """

    name, column, kind = "mean_absolute_error", "mae", "numbers"

    def each(self, task: Task, outputs: Array, targets: Array) -> Array:
        """``|y - t|``."""
        return abs(task.predict(outputs).astype(np.float64) - task.truth(targets))
