"""Primitives on the logits of a batch and its labels, which are integers."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from minibnn.backend.array import Array


class Classes:
    """Part of `Backend`; the plain bodies."""

    xp: ModuleType

    def log_softmax(self, logits: Array) -> tuple[Array, Array]:
        """See `Backend`."""
        raise NotImplementedError

    def cross_entropy(
        self, logits: Array, labels: Array, smoothing: float = 0.0
    ) -> tuple[Array, Any]:
        """The mean cross-entropy of a batch, and what `cross_entropy_gradient` needs.

        .. code-block:: text

            L = -1/N sum over n of (1 - e) log p[n, label n] + e / K sum over k of log p[n, k]

        with p the softmax of the logits, and e the smoothing.

        Shapes: logits (N, K); labels (N,), integers in 0..K-1, which is not checked; the loss ().

        Returns:
            The loss, and something to hand on.
        """
        n, classes = logits.shape
        logp, p = self.log_softmax(logits)
        rows = self.xp.arange(n)
        score = logp[rows, labels]
        if smoothing:
            score = (1 - smoothing) * score + (logp * (smoothing / classes)).sum(axis=1)
        return -score.sum() / n, (p, rows)

    def cross_entropy_gradient(self, kept: Any, labels: Array, smoothing: float = 0.0) -> Array:
        """The gradient of `cross_entropy` with respect to the logits.

        .. code-block:: text

            dlogits[n, k] = (p[n, k] - (1 - e) 1[k = label n] - e / K) / N

        Args:
            kept: what `cross_entropy` returned beside the loss; used up.
            labels: the same.
            smoothing: the same.
        """
        p, rows = kept
        n, classes = p.shape
        p /= n
        p[rows, labels] -= (1 - smoothing) / n
        if smoothing:
            p -= smoothing / (n * classes)
        return p

    def count_correct(self, logits: Array, labels: Array) -> Array:
        """In how many rows the greatest logit, the first of equals, is finite and the label's.

        A nan counts as the greatest, so a row that has one is never right.

        Shapes: logits (N, K); labels (N,) integers; the count (), an int64.
        """
        right = (logits.argmax(axis=1) == labels) & self.xp.isfinite(logits.max(axis=1))
        return right.sum(dtype="int64")
