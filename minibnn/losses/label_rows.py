"""Labels as rows of probabilities, with label smoothing."""

from __future__ import annotations

from typing import Any

from minibnn.backend import Array, backend_of


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
