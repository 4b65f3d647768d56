"""The binary cross-entropy of a sigmoid."""

from __future__ import annotations

from minibnn.backend import Array, backend_of
from minibnn.losses.elementwise import ValueLoss
from minibnn.losses.task import Task
from minibnn.losses.tasks import BinaryClassification, MultiLabel
from minibnn.losses.values import check_binary, is_one


class BinaryCrossEntropy(ValueLoss):
    """Cross-entropy, in nats, between probabilities t and the sigmoid of the outputs z.

    For one output it separates two classes, 0 and 1. For several outputs each one says whether a
    sample has that label, whatever other labels it has. The outputs are logits: end the model
    without a sigmoid. An output of at least 0 predicts class 1, or the label.

    .. equations::

        p      = 1 / (1 + exp(-z))
        L      = -1/(N K) sum_n sum_k (t log p + (1 - t) log(1 - p))
               =  1/(N K) sum_n sum_k (max(z, 0) - z t + log(1 + exp(-|z|)))
        dL/dz  = (p - t) / (N K)  =  ((1 - t) p(z) - t p(-z)) / (N K)

    The second forms are the ones computed: ``exp(-|z|)`` does not overflow, and for t = 1 a small
    p(-z) is not lost in 1 - p.

    Shapes: outputs z (N, 1) or (N,) for two classes, (N, labels) for several labels, float; targets
    t in the same shape (for one output, (N,) and (N, 1) mean the same), in [0, 1], of any real
    dtype; weights (N,) or None; the loss (). Loss and gradient are of the outputs' dtype.

    Raises:
        ValueError: for targets of another shape; on the CPU for targets outside [0, 1]; for weights
            of another shape and, on the CPU, for negative ones. (On a GPU a check of values would
            make every training step wait; `fit` and `evaluate` check all targets once instead.)
        TypeError: for targets that are not numbers, or on another device.

    Reference: Bishop 2006, "Pattern recognition and machine learning", equations 4.90 and 4.91.

    >>> import numpy as np
    >>> loss = BinaryCrossEntropy()
    >>> round(float(loss.forward(np.array([[1000.0], [0.0]]), np.array([0, 1]))), 3)
    500.347
    >>> loss.backward()
    array([[ 0.5 ],
           [-0.25]])
    """

    def targets_of(self, outputs: Array, targets: Array) -> Array:
        """The probabilities, each in the place of its output."""
        name, backend = type(self).__name__, backend_of(outputs)
        if targets.shape != outputs.shape or targets.dtype.kind not in "fiub":
            check_binary(name, outputs, targets, len(outputs), look=False)
        t = super().targets_of(outputs, targets)
        if backend.host and not (t.min() >= 0 and t.max() <= 1):
            check_binary(name, outputs, targets, len(outputs), look=True)
        return t

    def task(self, outputs: Array, targets: Array | None = None, who: str = "") -> Task:
        """Two classes for one output, several labels for more."""
        if targets is not None:
            who = f"{who or type(self).__name__}, labels"
            check_binary(who, outputs, targets, len(targets), look=True)
        return BinaryClassification() if is_one(outputs) else MultiLabel()

    def each(self, y: Array, t: Array) -> tuple[Array, Array]:
        """``max(y, 0) - y t + log(1 + exp(-|y|))`` and ``(1 - t) p(y) - t p(-y)``."""
        xp = backend_of(y).xp
        exp = xp.exp(-abs(y))
        losses = xp.maximum(y, 0) - y * t + xp.log1p(exp)
        smaller, larger = exp / (1 + exp), 1 / (1 + exp)  # p(-|y|) and p(|y|)
        p, other = xp.where(y >= 0, larger, smaller), xp.where(y >= 0, smaller, larger)
        return losses, (1 - t) * p - t * other
