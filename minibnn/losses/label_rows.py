"""Labels as rows of probabilities, with label smoothing and weights of samples."""

from __future__ import annotations

from typing import Any

from minibnn.backend import Array, backend_of
from minibnn.losses.base import Loss
from minibnn.losses.weights import require_weights, total_weight


def probabilities(labels: Array, classes: int, dtype: Any) -> Array:
    """The probability of each class: 1 or 0 for integer labels.

    Shapes: labels (N,) integers or (N, K); the result (N, K).
    """
    if labels.ndim == 1:
        labels = labels[:, None] == backend_of(labels).xp.arange(classes)
    return labels.astype(dtype, copy=False)


def smoothed(labels: Array, smoothing: float, dtype: Any) -> Array:
    """``t = (1 - e) labels + e / K`` for rows of probabilities."""
    t = labels.astype(dtype, copy=False)
    return (1 - smoothing) * t + smoothing / t.shape[1] if smoothing else t


def weighted_rows(
    loss: Loss, logits: Array, labels: Array, smoothing: float, weights: Array
) -> Array:
    """Rows with which a cross-entropy is a weighted mean: ``w[n] N / sum(w) t[n]``, t smoothed.

    Shapes: logits and rows (N, K); labels (N,) integers or (N, K); weights (N,).
    """
    w = require_weights(type(loss).__name__, weights, logits)
    rows = probabilities(labels, logits.shape[1], logits.dtype)
    share = w * len(w) / total_weight(w)
    return share[:, None] * smoothed(rows, smoothing, logits.dtype)
