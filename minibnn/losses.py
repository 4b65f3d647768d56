"""Losses: how wrong a batch of outputs is, and the gradient of that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from minibnn.backend import Array, Backend, backend_of


class Loss(ABC):
    """A mean over samples, and its gradient with respect to the network's output."""

    saved: Any = None

    @abstractmethod
    def forward(self, logits: Array, labels: Array) -> Array:
        """The loss of a batch, averaged over its samples: a 0-d array on the device."""

    @abstractmethod
    def backward(self) -> Array:
        """The gradient of that loss with respect to `logits`, in their shape.

        Raises:
            RuntimeError: without a `forward` before it.
        """

    def _take_saved(self) -> Any:
        if self.saved is None:
            raise RuntimeError(f"{type(self).__name__}: backward needs a forward before it")
        saved, self.saved = self.saved, None
        return saved


class LogitCrossEntropy(Loss):
    """Cross-entropy, in nats, between label distributions t and the softmax p of the logits.

    .. code-block:: text

        L = -1/N sum_n sum_k t[n, k] log p[n, k]        p = softmax(logits)
        dL/dlogits = (p - t) / N                        for t that sum to 1

    The largest logit of each row is subtracted first, so that the exponential cannot overflow.

    Shapes: logits (N, K) float; labels (N,) integers in 0..K-1, or (N, K) probabilities
    (one-hot rows, for instance) of any dtype; the loss (). Loss and gradient are of the logits'
    dtype.

    Raises:
        ValueError: for labels of another shape and, on the CPU, for integers outside 0..K-1
            and for rows that are not probabilities. (On a GPU that look would make every
            training step wait; `fit` and `evaluate` check the whole data set once instead.)
        TypeError: for labels (N,) that are not integers, or on another device.

    >>> import numpy as np
    >>> loss = LogitCrossEntropy()
    >>> float(loss.forward(np.array([[1000.0, 0.0]]), np.array([1])))
    1000.0
    >>> loss.backward()
    array([[ 1., -1.]])
    """

    def __repr__(self) -> str:
        return "LogitCrossEntropy()"

    def forward(self, logits: Array, labels: Array) -> Array:
        """The mean cross-entropy of the batch."""
        backend = backend_of(logits)
        _check_labels(self, logits, labels, backend)
        xp = backend.xp
        shifted = logits - logits.max(axis=1, keepdims=True)
        exp = xp.exp(shifted)
        total = exp.sum(axis=1, keepdims=True)
        if labels.ndim == 1:
            rows = xp.arange(len(labels))
            score = shifted[rows, labels]
            weight = 1
        else:
            rows = None
            labels = labels.astype(logits.dtype, copy=False)
            # where(), not a bare product: 0 * -inf is nan.
            score = xp.where(labels > 0, labels * shifted, 0).sum(axis=1)
            weight = labels.sum(axis=1)
        self.saved = (exp, total, rows, labels)
        return (weight * xp.log(total[:, 0]) - score).sum() / len(labels)

    def backward(self) -> Array:
        """``(p sum(t) - t) / N``."""
        exp, total, rows, labels = self._take_saved()
        n = len(labels)
        if rows is not None:
            dlogits = exp / (total * n)
            dlogits[rows, labels] -= 1 / n
            return dlogits
        return (exp * (labels.sum(axis=1, keepdims=True) / total) - labels) / n


def _check_labels(loss: Loss, logits: Array, labels: Array, backend: Backend) -> None:
    """Raise unless `labels` fit `logits`; the values are looked at on the host only."""
    who = type(loss).__name__
    if backend_of(labels) is not backend:
        raise TypeError(
            f"{who}: expected labels on the logits' device, {backend.name}, got an array on "
            f"{backend_of(labels).name}; move the loader with to()"
        )
    if logits.ndim != 2 or logits.shape[0] == 0:
        raise ValueError(f"{who}: expected logits of shape (batch, classes), got {logits.shape}")
    if labels.ndim == 2 and labels.shape[1] == 1 != logits.shape[1]:
        raise ValueError(
            f"{who}: expected labels of shape (batch,), got {labels.shape}; use labels.ravel()"
        )
    if labels.ndim == 1 and labels.shape[0] == logits.shape[0]:
        if labels.dtype.kind not in "iu":
            raise TypeError(
                f"{who}: expected integer labels for shape (batch,), got {labels.dtype}; "
                "use labels.astype('int64'), or one_hot(labels, classes)"
            )
        if backend.host:
            check_class_labels(labels, logits.shape[1], who)
    elif labels.shape == logits.shape:
        if backend.host:
            check_probabilities(labels, who)
    else:
        raise ValueError(
            f"{who}: expected labels of shape ({logits.shape[0]},) or {logits.shape}, "
            f"got {labels.shape}"
        )


def check_class_labels(labels: Array, classes: int, who: str) -> None:
    """Raise ValueError unless every label is in ``0..classes-1``."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"{who}: expected labels in 0..{classes - 1}, got {low if low < 0 else high}; "
            "classes are counted from 0, and the last layer has one output for each"
        )


def check_probabilities(labels: Array, who: str) -> None:
    """Raise ValueError unless every row is non-negative and sums to 1 (within 1e-3)."""
    if not bool((labels >= 0).all()) or not bool((abs(labels.sum(axis=1) - 1) <= 1e-3).all()):
        raise ValueError(
            f"{who}: expected rows of probabilities (non-negative, sum 1); "
            "divide each row by its sum"
        )
