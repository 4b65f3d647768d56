"""Metrics that `fit` and `evaluate` compute if they are asked for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.losses.task import Metric, Task

# A metric, or a function of predictions and targets that gives a number for each sample.
Asked: TypeAlias = Metric | Callable[[Array, Array], Array]


class BalancedAccuracy(Metric):
    """The accuracy in each class, averaged over the classes that occur.

    .. equations::

        1/K sum_k (right samples of class k) / (samples of class k)

    So a rare class counts as much as a frequent one.
    """

    name, column, kind = "balanced_accuracy", "balanced_acc", "classes"

    def size(self, task: Task) -> int:
        """Two for each class: its right samples, and all of its samples."""
        return 2 * _classes(task)

    def add(
        self, sums: Array, task: Task, outputs: Array, targets: Array, weights: Array | None
    ) -> None:
        """The samples of each class, or the sums of their weights."""
        K, of_class = _classes(task), _of_class(task, task.truth(targets), weights)
        sums[:K] += (of_class * task.right(outputs, targets)[:, None]).sum(axis=0)
        sums[K:] += of_class.sum(axis=0)

    def value(self, sums: Array, weight: Array | float) -> Array:
        """The mean over the classes that occur."""
        xp = backend_of(sums).xp
        right, all_of_it = sums.reshape(2, -1)
        occurs = all_of_it > 0
        return (right / xp.where(occurs, all_of_it, 1)).sum() / occurs.sum()


class F1(Metric):
    """The harmonic mean of precision and recall: of class 1 of two, or averaged over more classes.

    .. equations::

        F1[k] = 2 TP[k] / (T[k] + P[k])

    TP samples of class k are predicted to be so, of T that are and P that are predicted to be. Of
    more than two classes, those that occur or are predicted are averaged ("macro"). Of two, it is 0
    if class 1 neither occurs nor is predicted.
    """

    name, column, kind = "f1", "f1", "classes"

    def size(self, task: Task) -> int:
        """Three for each class: TP, T and P."""
        return 3 * _classes(task)

    def add(
        self, sums: Array, task: Task, outputs: Array, targets: Array, weights: Array | None
    ) -> None:
        """The samples of each class, or the sums of their weights."""
        K, of_class = _classes(task), _of_class(task, task.truth(targets), weights)
        sums[:K] += (of_class * task.right(outputs, targets)[:, None]).sum(axis=0)
        sums[K : 2 * K] += of_class.sum(axis=0)
        sums[2 * K :] += _of_class(task, task.predict(outputs), weights).sum(axis=0)

    def value(self, sums: Array, weight: Array | float) -> Array:
        """Of class 1, or the mean."""
        xp = backend_of(sums).xp
        hits, of_class, predicted = sums.reshape(3, -1)
        both = of_class + predicted
        f1 = 2 * hits / xp.where(both > 0, both, 1)
        return f1[1] if len(f1) == 2 else f1.sum() / (both > 0).sum()


class R2(Metric):
    """The share of the targets' variance that the model explains, averaged over the outputs.

    .. equations::

        R^2 = 1 - (sum_n (t[n] - y[n])^2) / (sum_n (t[n] - mean(t))^2)

    1 is perfect, and 0 as good as the targets' mean. It is nan or -inf if all targets are equal.

    The targets' scatter is summed around their mean, since squares of large targets would hide
    their differences: a batch's mean joins those before it.

    Reference: Chan, Golub and LeVeque 1979, STAN-CS-79-773, equation 2.1.
    """

    name, column, kind = "r2", "r2", "numbers"

    def size(self, task: Task) -> int:
        """Three for each output: squared errors, mean target, variance; and the weight."""
        return 3 * _outputs(task) + 1

    def add(
        self, sums: Array, task: Task, outputs: Array, targets: Array, weights: Array | None
    ) -> None:
        """The sums over a batch."""
        samples = len(outputs)
        y, t = (
            a.reshape(samples, -1).astype(np.float64)
            for a in (task.predict(outputs), task.truth(targets))
        )
        if y.shape[1] != _outputs(task):
            raise ValueError(
                f"R2: expected {_outputs(task)} outputs, as the loss's task says, got "
                f"{y.shape[1]}; let the method task of your loss return Regression({y.shape[1]})"
            )
        xp = backend_of(sums).xp
        w = xp.ones((samples, 1)) if weights is None else weights.astype(np.float64)[:, None]
        weight = w.sum()
        mean = t[0] + (w * (t - t[0])).sum(axis=0) / xp.where(weight > 0, weight, 1)
        of_batch = [(w * (t - y) ** 2).sum(axis=0), mean, (w * (t - mean) ** 2).sum(axis=0)]
        self.merge(sums, xp.concatenate([*of_batch, weight.reshape(1)]))

    def merge(self, sums: Array, others: Array) -> None:
        """The variance of both together also has the distance between their means."""
        xp = backend_of(sums).xp
        errors, means, scatter = sums[:-1].reshape(3, -1)  # views
        its_errors, its_means, its_scatter = others[:-1].reshape(3, -1)
        before, weight = sums[-1].copy(), others[-1]
        after = before + weight
        away, share = its_means - means, weight / xp.where(after > 0, after, 1)
        errors += its_errors
        scatter += its_scatter + before * share * away**2
        means += share * away
        sums[-1] = after

    def value(self, sums: Array, weight: Array | float) -> Array:
        """One minus the errors over the variances."""
        errors, _, scatter = sums[:-1].reshape(3, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (1 - errors / scatter).mean()


class FunctionMetric(Metric):
    """The mean over all samples of a function of predictions and targets.

    Args:
        function: gets the predictions and the targets of a batch, as `Task.predict` and
            `Task.truth` give them, on the device, and returns a number for each sample.
    """

    def __init__(self, function: Callable[[Array, Array], Array]) -> None:
        self.function = function
        self.name = self.column = getattr(function, "__name__", type(function).__name__)

    def __repr__(self) -> str:
        return f"FunctionMetric({self.name})"

    def add(
        self, sums: Array, task: Task, outputs: Array, targets: Array, weights: Array | None
    ) -> None:
        """The sum of its numbers, each times its sample's weight."""
        try:
            values = self.function(task.predict(outputs), task.truth(targets))
        except Exception as error:
            error.add_note(f"raised by the metric {self.name}")
            raise
        shape, kind = getattr(values, "shape", None), getattr(values, "dtype", np.dtype("f")).kind
        if shape != (len(outputs),) or kind not in "fiub":
            got = type(values).__name__ if shape is None else f"{values.dtype} {shape}"
            hint = "leave out the mean, or derive it from minibnn.losses.Metric"
            if shape != () and not isinstance(values, int | float):
                hint = "return an array, such as abs(predictions - targets)"
            raise ValueError(
                f"{self.name}: expected a metric that returns a number for each sample, of shape "
                f"({len(outputs)},), got {got}; {hint}"
            )
        values = values.astype(np.float64)
        sums[0] += values.sum() if weights is None else (weights.astype(np.float64) * values).sum()


def metrics_of(asked: Sequence[Asked] | None, task: Task, who: str) -> tuple[Metric, ...]:
    """The metrics to report: those asked for, or else the task's own.

    Raises:
        TypeError: for what is no metric, or one that the task does not have.
        ValueError: for two of one name.
    """
    if asked is None:
        return task.metrics
    if not isinstance(asked, list | tuple):
        raise TypeError(
            f"{who}: expected metrics to be a list, got {asked!r:.60}; write metrics=[Accuracy()]"
        )
    metrics = tuple(_metric(one, who) for one in asked)
    for metric in metrics:
        metric.check(task, who)
    columns = [metric.column for metric in metrics]
    if len({"loss", *columns}) <= len(columns):
        raise ValueError(
            f"{who}: expected metrics of different names, other than 'loss', got {columns}; "
            "leave one out, or give a function another name"
        )
    return metrics


def _metric(one: Any, who: str) -> Metric:
    if isinstance(one, Metric):
        return one
    name = getattr(one, "__name__", "")
    if isinstance(one, type) or not callable(one):
        made = f"{name}()" if isinstance(one, type) else "Accuracy()"
        got = f"the class {name}" if isinstance(one, type) else repr(one)
        raise TypeError(
            f"{who}: expected metrics such as Accuracy(), or functions, got {got}; write "
            f"metrics=[{made}]"
        )
    if name == "<lambda>":
        raise TypeError(
            f"{who}: expected metrics with a name, for their columns, got a lambda; write it as a "
            "function: def distance(predictions, targets): ..."
        )
    return FunctionMetric(one)


def _classes(task: Task) -> int:
    return task.classes or 0  # `check` has refused other tasks


def _outputs(task: Task) -> int:
    return int(getattr(task, "outputs", 1))


def _of_class(task: Task, classes: Array, weights: Array | None) -> Array:
    """(N, K): each sample's weight in the column of its class, 0 elsewhere."""
    xp = backend_of(classes).xp
    hot = (classes[:, None] == xp.arange(_classes(task))).astype(np.float64)
    return hot if weights is None else hot * weights.astype(np.float64)[:, None]
