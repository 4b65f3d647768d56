"""Losses of numbers: the squared error, and Huber's loss."""

from __future__ import annotations

from minibnn.backend import Array, backend_of
from minibnn.checks import finite
from minibnn.losses.base import check_labels
from minibnn.losses.elementwise import ValueLoss
from minibnn.losses.label_rows import probabilities
from minibnn.losses.labels import are_probabilities
from minibnn.losses.task import Task
from minibnn.losses.tasks import classification
from minibnn.losses.values import check_form, is_one


class MeanSquaredError(ValueLoss):
    """The mean squared difference between each output and its target.

    .. equations::

        L     = 1/(N K) sum_n sum_k (y[n, k] - t[n, k])^2
        dL/dy = 2 (y - t) / (N K)

    Targets are numbers. With two or more outputs they may also be classes: integer labels (N,)
    stand for one-hot rows, and `fit` and `evaluate` report the accuracy for them, as for a data set
    in which all targets are rows of probabilities. For other targets they report the mean absolute
    error.

    Shapes: outputs y (N, ...) float; targets t in the same shape, of any real dtype; for one output
    y and t may each be (N,) or (N, 1); for outputs (N, K) also labels (N,), integers in 0..K-1;
    weights (N,) or None; the loss (). Loss and gradient are of the outputs' dtype.

    Raises:
        ValueError: for targets of another shape; for labels as in `LogitCrossEntropy`; for weights
            of another shape and, on the CPU, for negative ones.
        TypeError: for targets that are not numbers, or on another device.

    >>> import numpy as np
    >>> loss = MeanSquaredError()
    >>> float(loss.forward(np.array([[0.5], [-3.0]]), np.array([1.0, -1.0])))
    2.125
    >>> loss.backward()
    array([[-0.5],
           [-2. ]])
    """

    def targets_of(self, outputs: Array, targets: Array) -> Array:
        """The targets, each in the place of its output; of a label, its one-hot row."""
        if _are_classes(outputs, targets):
            check_labels(self, outputs, targets, backend_of(outputs))
            return probabilities(targets, outputs.shape[1], outputs.dtype)
        return super().targets_of(outputs, targets)

    def task(self, outputs: Array, targets: Array | None = None, who: str = "") -> Task:
        """Classes for labels and for rows of probabilities; otherwise numbers."""
        if targets is not None and _are_classes(outputs, targets):
            who = who or type(self).__name__
            if targets.dtype.kind == "f" and not _are_numbers_of_classes(outputs, targets):
                check_form(f"{who}, targets", outputs, targets, len(targets))  # raises
            return classification(who, outputs, targets)
        task = super().task(outputs, targets, who)
        several = outputs.ndim == 2 and outputs.shape[1] > 1
        if targets is not None and several and are_probabilities(targets):
            return classification(who, outputs, targets)
        return task

    def each(self, y: Array, t: Array) -> tuple[Array, Array]:
        """``(y - t)^2`` and ``2 (y - t)``."""
        error = y - t
        return error * error, 2 * error


def _are_classes(outputs: Array, targets: Array) -> bool:
    """Whether targets are labels, by their shape: one for several outputs."""
    several = outputs.ndim == 2 and outputs.shape[1] > 1
    return several and is_one(targets)


def _are_numbers_of_classes(outputs: Array, targets: Array) -> bool:
    """Whether floats are the numbers of classes, one for each output."""
    whole = (targets == targets.round()) & (targets >= 0) & (targets < outputs.shape[1])
    return bool(whole.all())


class Huber(ValueLoss):
    """Huber's loss: squared for small errors and linear for large ones, so outliers pull less.

    .. equations::

        e      = y[n, k] - t[n, k]
        l      = e^2 / 2                   for |e| <= delta
                 delta (|e| - delta / 2)   for larger ones
        L      = 1/(N K) sum_n sum_k l
        dL/dy  = max(-delta, min(e, delta)) / (N K)

    Shapes: outputs y (N, ...) float; targets t in the same shape, of any real dtype; for one output
    y and t may each be (N,) or (N, 1); weights (N,) or None; the loss (). Loss and gradient are of
    the outputs' dtype.

    Args:
        delta: the error from which on the loss is linear, in the units of the targets; above 0.

    Raises:
        ValueError: for targets of another shape; for weights of another shape and, on the CPU, for
            negative ones.
        TypeError: for targets that are not numbers, or on another device.

    Reference: Huber 1964, "Robust estimation of a location parameter", Annals of Mathematical
    Statistics 35(1), section 4 (his k is delta).

    >>> import numpy as np
    >>> loss = Huber(delta=1.0)
    >>> float(loss.forward(np.array([[0.5], [-3.0]]), np.array([1.0, -1.0])))
    0.8125
    >>> loss.backward()
    array([[-0.25],
           [-0.5 ]])
    """

    def __init__(self, delta: float = 1.0) -> None:
        delta = float(finite("Huber", "delta", delta))
        if not delta > 0:
            raise ValueError(f"Huber: expected delta above 0, got {delta}")
        self.delta = delta

    def __repr__(self) -> str:
        return f"Huber(delta={self.delta})"

    def each(self, y: Array, t: Array) -> tuple[Array, Array]:
        """``q (|e| - q / 2)`` with ``q = min(|e|, delta)``, and e, clipped to [-delta, delta]."""
        error = y - t
        size = abs(error)
        q = backend_of(y).xp.minimum(size, self.delta)
        return q * (size - q / 2), error.clip(-self.delta, self.delta)
