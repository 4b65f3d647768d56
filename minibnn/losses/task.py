"""What a loss says about its targets: what a prediction is, and what is reported beside the loss.

A loss's method `task` returns a `Task` for a data set. `fit`, `evaluate`, `diagnose` and
`confusion_matrix` ask the task, and know no kind of targets themselves. The tasks are in
`tasks.py`, their metrics in `metrics.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from minibnn.backend import Array


class Task:
    """A task of unknown targets: a prediction is the model's output, and only the loss is reported.

    Attributes:
        kind: of the targets, as a text for messages; metrics of one kind of task compare it.
        classes: the number of classes, if each sample has exactly one of them; otherwise None.
        metrics: what is reported beside the loss, unless the user asks for other metrics.
    """

    kind: str = "unknown targets"
    classes: int | None = None
    metrics: tuple[Metric, ...] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def predict(self, outputs: Array) -> Array:
        """What the model's outputs say, in the form of `truth`'s result."""
        return outputs

    def truth(self, targets: Array) -> Array:
        """What the targets say."""
        return targets

    def right(self, outputs: Array, targets: Array) -> Array:
        """Whether each prediction is right: bool, in the shape of `predict`'s result.

        Raises:
            TypeError: for a task without right and wrong answers.
        """
        raise TypeError(
            f"{self}: expected a task of classes or labels to count right answers, got one of "
            f"{self.kind}"
        )

    def count_right(self, outputs: Array, targets: Array) -> Array:
        """The number of right predictions: (), an int64 on the device."""
        return self.right(outputs, targets).sum(dtype="int64")


class Metric(ABC):
    """A number about a model on a data set, computed from sums over the samples.

    The sums are float64, on the device. Each sample counts once, or with its own weight, so the
    result does not depend on the batch size (but sums of real numbers are rounded).

    Attributes:
        name: of the attribute in `evaluate`'s result, such as ``"accuracy"``.
        column: of a history's columns, before ``_train`` and ``_test``, such as ``"acc"``.
        kind: of the tasks that have this metric, see `Task.kind`; None for any.
    """

    name: str
    column: str
    kind: str | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def check(self, task: Task, who: str) -> None:
        """Raise TypeError if a task has no such metric."""
        if self.kind not in (None, task.kind):
            others = ", ".join(map(repr, task.metrics))
            hint = f"; use {others}" if others else "; override the method task of your loss"
            raise TypeError(
                f"{who}: expected a loss for {self.kind} with {self}, got one for {task.kind}{hint}"
            )

    def size(self, task: Task) -> int:
        """How many sums it keeps."""
        return 1

    @abstractmethod
    def add(
        self, sums: Array, task: Task, outputs: Array, targets: Array, weights: Array | None
    ) -> None:
        """Add a batch's share to the sums, in place; nothing may wait for the device.

        Shapes: sums (size,) float64; outputs and targets as the loss takes them; weights (N,), of
        the samples, or None for 1 each.
        """

    def merge(self, sums: Array, others: Array) -> None:
        """Add the sums over other samples to the sums, in place; several ranks compute them.

        By default number by number. Override it if `add` does more than add.
        """
        sums += others

    def value(self, sums: Array, weight: Array | float) -> Array:
        """The metric, as a 0-d array: by default a mean, the first sum over `weight`.

        Args:
            sums: those over all samples.
            weight: the number of samples, or the sum of their weights.
        """
        return sums[0] / weight
