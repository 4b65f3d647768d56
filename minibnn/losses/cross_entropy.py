"""The cross-entropy of a softmax."""

from __future__ import annotations

from minibnn.backend import Array, backend_of
from minibnn.checks import number
from minibnn.losses.base import Loss, check_labels


class LogitCrossEntropy(Loss):
    """Cross-entropy, in nats, between label distributions t and the softmax p of the logits.

    .. code-block:: text

        L = -1/N sum_n sum_k t[n, k] log p[n, k]        p = softmax(logits)
        dL/dlogits = (p - t) / N                        for t that sum to 1

    With label smoothing e, a part e of each distribution is spread over all K classes, so that no
    logit gains from growing without end:

    .. code-block:: text

        t <- (1 - e) t + e / K

    Shapes: logits (N, K) float; labels (N,) integers in 0..K-1, or (N, K) probabilities
    (one-hot rows, for instance) of any dtype; the loss (). Loss and gradient are of the logits'
    dtype.

    Args:
        label_smoothing: e, at least 0 and below 1.

    Raises:
        ValueError: for labels of another shape and, on the CPU, for integers outside 0..K-1
            and for rows that are not probabilities. (On a GPU that look would make every
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
            raise ValueError(
                "LogitCrossEntropy: expected label_smoothing of at least 0 and below 1, "
                f"got {label_smoothing}"
            )
        self.label_smoothing = float(e)

    def __repr__(self) -> str:
        options = f"label_smoothing={self.label_smoothing}" if self.label_smoothing else ""
        return f"LogitCrossEntropy({options})"

    def forward(self, logits: Array, labels: Array) -> Array:
        """The mean cross-entropy of the batch."""
        backend = backend_of(logits)
        check_labels(self, logits, labels, backend)
        e = self.label_smoothing
        if labels.ndim == 1:
            loss, kept = backend.cross_entropy(logits, labels, e)
            self.saved = (kept, labels)
            return loss
        n, classes = logits.shape
        logp, p = backend.log_softmax(logits)
        labels = labels.astype(logits.dtype, copy=False)
        if e:
            labels = (1 - e) * labels + e / classes
        # where(), not a bare product: 0 * -inf is nan.
        score = backend.xp.where(labels > 0, labels * logp, 0).sum(axis=1)
        self.saved = (p, labels)
        return -score.sum() / n

    def backward(self) -> Array:
        """``(p sum(t) - t) / N``, of the smoothed t."""
        kept, labels = self._take_saved()
        if labels.ndim == 1:
            return backend_of(labels).cross_entropy_gradient(kept, labels, self.label_smoothing)
        return (kept * labels.sum(axis=1, keepdims=True) - labels) / len(labels)
