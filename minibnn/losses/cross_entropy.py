"""The cross-entropy of a softmax."""

from __future__ import annotations

from minibnn.backend import Array, backend_of, batch_total
from minibnn.checks import number
from minibnn.losses.base import check_labels
from minibnn.losses.class_loss import ClassLoss
from minibnn.losses.label_rows import smoothed
from minibnn.losses.weighted_cross_entropy import (
    weighted_cross_entropy,
    weighted_cross_entropy_gradient,
)
from minibnn.losses.weights import require_weights


def log_softmax(logits: Array) -> tuple[Array, Array]:
    """The logarithm of the softmax of each row, and the softmax p itself.

    .. equations::

        log p = s - log(sum of exp(s))          s = logits - their greatest, row by row

    Subtracting the greatest logit changes nothing, but keeps the exponential from overflowing.

    Shapes: logits, log p and p (batch, classes).
    """
    xp = backend_of(logits).xp
    s = logits - logits.max(axis=1, keepdims=True)
    exp = xp.exp(s)
    total = exp.sum(axis=1, keepdims=True)
    return s - xp.log(total), exp / total


def cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """The mean cross-entropy of a batch, and the softmax p for `cross_entropy_gradient`.

    .. equations::

        L = -1/N sum_n sum_k t[n, k] log p[n, k]

    For integer labels, t[n, k] is (1 - e) 1[k = label n] + e / K, where e is the label smoothing;
    for rows of probabilities see `smoothed`.

    Shapes: logits and p (N, K); labels (N,), integers in 0..K-1 (not checked), or (N, K),
    probabilities; the loss ().
    """
    backend, (n, classes) = backend_of(logits), logits.shape
    logp, p = backend.run(log_softmax, logits)
    if labels.ndim == 1:
        score = logp[backend.xp.arange(n), labels]
        if smoothing:
            score = (1 - smoothing) * score + (logp * (smoothing / classes)).sum(axis=1)
    else:
        t = smoothed(labels, smoothing, logits.dtype)
        score = backend.xp.where(t > 0, t * logp, 0).sum(axis=1)  # a bare 0 * -inf is nan
    return -batch_total(score) / n, p


def cross_entropy_gradient(p: Array, labels: Array, smoothing: float) -> Array:
    """The gradient of `cross_entropy` with respect to the logits.

    .. equations::

        dlogits = (p sum_k(t) - t) / N

    Shapes: p and dlogits (N, K); labels as in `cross_entropy`. The sum is needed since the t of a
    row of probabilities sum to 1 only up to rounding.
    """
    n, classes = p.shape
    if labels.ndim == 1:
        dlogits = p / n
        dlogits[backend_of(p).xp.arange(n), labels] -= (1 - smoothing) / n
        if smoothing:
            dlogits -= smoothing / (n * classes)
        return dlogits
    t = smoothed(labels, smoothing, p.dtype)
    return (p * t.sum(axis=1, keepdims=True) - t) / n


class LogitCrossEntropy(ClassLoss):
    """Cross-entropy, in nats, between label distributions t and the softmax p of the logits.

    .. equations::

        L = -1/N sum_n sum_k t[n, k] log p[n, k]        p = softmax(logits)
        dL/dlogits = (p - t) / N                        for t that sum to 1

    Label smoothing spreads a part e of each distribution over all K classes, so that no logit
    gains from growing without end:

    .. equations::

        t <- (1 - e) t + e / K

    With weights w of the samples, w[n] / sum(w) takes the place of 1/N.

    Shapes: logits (N, K) float; labels (N,) integers in 0..K-1, or (N, K) probabilities
    (one-hot rows, for instance) of any dtype; weights (N,) or None; the loss (). Loss and gradient
    are of the logits' dtype.

    Args:
        label_smoothing: e, in [0, 1).

    Raises:
        ValueError: for labels of another shape and, on the CPU, for integers outside 0..K-1
            and for rows that are not probabilities. (On a GPU this check would make every
            training step wait; `fit` and `evaluate` check the whole data set once instead.)
        TypeError: for labels (N,) that are not integers, or on another device.

    Reference: label smoothing, Szegedy et al. 2015, arXiv:1512.00567, section 7.

    >>> import numpy as np
    >>> loss = LogitCrossEntropy()
    >>> float(loss.forward(np.array([[1000.0, 0.0]]), np.array([1])))
    1000.0
    >>> loss.backward()
    array([[ 1., -1.]])
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        e = number("LogitCrossEntropy", "label_smoothing", label_smoothing)
        if not 0 <= e < 1:
            raise ValueError(f"LogitCrossEntropy: expected label_smoothing in [0, 1), got {e}")
        self.label_smoothing = float(e)

    def __repr__(self) -> str:
        options = f"label_smoothing={self.label_smoothing}" if self.label_smoothing else ""
        return f"LogitCrossEntropy({options})"

    def forward(self, logits: Array, labels: Array, weights: Array | None = None) -> Array:
        """The mean cross-entropy of the batch."""
        backend = backend_of(logits)
        check_labels(self, logits, labels, backend)
        smoothing = self.label_smoothing
        if weights is None:
            loss, p = backend.run(cross_entropy, logits, labels, smoothing)
        else:
            weights = require_weights("LogitCrossEntropy", weights, logits)
            logp, p = backend.run(log_softmax, logits)
            loss = weighted_cross_entropy(logp, labels, smoothing, weights)
        self.saved = (p, labels, weights)
        return loss

    def backward(self) -> Array:
        """``(p sum(t) - t) / N``, of the smoothed t; with weights, w / sum(w) instead of 1/N."""
        p, labels, weights = self.take_saved()
        if weights is not None:
            return weighted_cross_entropy_gradient(p, labels, self.label_smoothing, weights)
        return backend_of(p).run(cross_entropy_gradient, p, labels, self.label_smoothing)
