"""Conversion between class numbers and rows of scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.checks import integer
from minibnn.losses.labels import require_integers


def one_hot(labels: Array, classes: int, dtype: Any = np.float32) -> Array:
    """Rows with a 1 at each label's position and 0 elsewhere; `one_cold` is the inverse.

    Shapes: labels (batch,) integers in 0..classes-1; result (batch, classes).

    Raises:
        TypeError: for labels that are not integers.
        ValueError: for another shape, or a label out of range.

    >>> import numpy as np
    >>> one_hot(np.array([2, 0]), classes=3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    xp = backend_of(labels).xp
    classes = integer("one_hot", "classes", classes, least=1)
    if labels.ndim != 1:
        hint = "; use labels.ravel()" if labels.size == len(labels) else ""
        raise ValueError(f"one_hot: expected labels of shape (batch,), got {labels.shape}{hint}")
    require_integers("one_hot", labels)
    hot = labels[:, None] == xp.arange(classes)
    if not bool(hot.any(axis=1).all()):
        raise ValueError(f"one_hot: expected labels in 0..{classes - 1}, got one outside")
    return hot.astype(dtype)


def one_cold(scores: Array) -> Array:
    """The class with the highest score in each row; the first of equal ones.

    Shapes: scores (batch, classes), logits or one-hot; result (batch,) integers.

    Raises:
        ValueError: for another shape, fewer than 2 classes, or nan among the scores.
        TypeError: for scores that are not numbers.

    >>> import numpy as np
    >>> one_cold(np.array([[0.1, 0.7, 0.2], [3.0, 1.0, 3.0]]))
    array([1, 0])
    """
    backend = backend_of(scores)
    if scores.ndim != 2:
        raise ValueError(f"one_cold: expected scores of shape (batch, classes), got {scores.shape}")
    if scores.shape[1] < 2:
        raise ValueError(
            f"one_cold: expected at least 2 classes, got scores of shape {scores.shape}; if these "
            "are class numbers already, use labels.ravel()"
        )
    if scores.dtype.kind not in "fiub":
        raise TypeError(f"one_cold: expected numbers, got {scores.dtype}")
    if scores.dtype.kind == "f":
        unknown = backend.to_host(backend.xp.isnan(scores).any(axis=1))
        if unknown.any():
            raise ValueError(
                f"one_cold: expected scores without nan, got nan in row {unknown.argmax()}; "
                "diagnose(model, data) says where a model's come from"
            )
    return scores.argmax(axis=1)
