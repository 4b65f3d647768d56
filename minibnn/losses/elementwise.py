"""Losses that are a mean over samples and outputs: of classes and of numbers."""

from __future__ import annotations

import math
from abc import abstractmethod

from minibnn.backend import Array, backend_of, batch_total
from minibnn.losses.base import Loss, check_labels
from minibnn.losses.class_loss import ClassLoss
from minibnn.losses.label_rows import probabilities
from minibnn.losses.labels import check_finite
from minibnn.losses.task import Task
from minibnn.losses.tasks import Regression
from minibnn.losses.values import check_form, require_values
from minibnn.losses.weights import require_weights, total_weight, weighted


class ElementwiseLoss(Loss):
    """A mean over samples and outputs of a function of each output and its target.

    .. equations::

        L     = 1/(N K) sum_n sum_k l(y[n, k], t[n, k])
        dL/dy = l'(y, t) / (N K)

    With weights w of the samples, w[n] / sum(w) takes the place of 1/N.

    A subclass defines `each`, and `targets_of`; see `TargetLoss` and `ValueLoss`.
    """

    def forward(self, outputs: Array, targets: Array, weights: Array | None = None) -> Array:
        """The loss of a batch, averaged over its samples and the outputs."""
        losses, slopes = self.each(outputs, self.targets_of(outputs, targets))
        if weights is None:
            self.saved = (slopes,)
            return batch_total(losses) / outputs.size
        weights = require_weights(type(self).__name__, weights, outputs)
        total = total_weight(weights) * (outputs.size // len(outputs))
        self.saved = (weighted(slopes, weights), total)
        return batch_total(weighted(losses, weights)) / total

    def backward(self) -> Array:
        """The gradient of that loss with respect to the outputs, in their shape."""
        slopes, *total = self.take_saved()
        return slopes / (total[0] if total else slopes.size)

    @abstractmethod
    def targets_of(self, outputs: Array, targets: Array) -> Array:
        """Check the targets, and return them in the outputs' shape and dtype."""

    @abstractmethod
    def each(self, y: Array, t: Array, /) -> tuple[Array, Array]:
        """``l(y, t)``, each output's loss, and ``l'(y, t)``, its derivative by that output."""


class TargetLoss(ElementwiseLoss, ClassLoss):
    """A mean over samples and classes of a function of each output and its class's probability p.

    .. equations::

        L     = 1/(N K) sum_n sum_k l(y[n, k], p[n, k])
        dL/dy = l'(y, p) / (N K)

    Here p is 1 or 0 for integer labels. A subclass defines `each(y, p)`.

    Shapes: outputs y (N, K) float; labels (N,) integers in 0..K-1, or (N, K) probabilities p of
    any dtype; weights (N,) or None; the loss (). Loss and gradient are of the outputs' dtype.
    """

    def targets_of(self, outputs: Array, targets: Array) -> Array:
        """The probabilities of the classes."""
        check_labels(self, outputs, targets, backend_of(outputs))
        return probabilities(targets, outputs.shape[1], outputs.dtype)


class ValueLoss(ElementwiseLoss):
    """A mean over samples and outputs of a function of each output and its target, a number.

    .. equations::

        L     = 1/(N K) sum_n sum_k l(y[n, k], t[n, k])
        dL/dy = l'(y, t) / (N K)

    A subclass defines `each(y, t)`.

    Shapes: outputs y (N, ...) float; targets t in the same shape, of any real dtype; for one output
    y and t may each be (N,) or (N, 1); weights (N,) or None; the loss (). Loss and gradient are of
    the outputs' dtype.
    """

    def targets_of(self, outputs: Array, targets: Array) -> Array:
        """The targets, each in the place of its output."""
        return require_values(type(self).__name__, outputs, targets)

    def task(self, outputs: Array, targets: Array | None = None, who: str = "") -> Task:
        """Numbers; the output is the prediction, and the mean absolute error is reported."""
        if targets is not None:
            who = f"{who or type(self).__name__}, targets"
            check_form(who, outputs, targets, len(targets))
            check_finite(who, targets)
        return Regression(math.prod(outputs.shape[1:]))
