"""Between class numbers and one row per sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.checks import integer


def one_hot(labels: Array, classes: int, dtype: Any = np.float32) -> Array:
    """Rows with a 1 at each label's place and 0 elsewhere; `one_cold` undoes it.

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
    if labels.dtype.kind not in "iu":
        raise TypeError(f"one_hot: expected integer labels, got {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"one_hot: expected labels of shape (batch,), got {labels.shape}")
    hot = labels[:, None] == xp.arange(classes)
    if not bool(hot.any(axis=1).all()):
        raise ValueError(f"one_hot: expected labels in 0..{classes - 1}, got one outside")
    return hot.astype(dtype)


def one_cold(scores: Array) -> Array:
    """The class with the highest score in each row; the first of equals.

    Shapes: scores (batch, classes), logits or one-hot; result (batch,) integers.

    >>> import numpy as np
    >>> one_cold(np.array([[0.1, 0.7, 0.2], [3.0, 1.0, 3.0]]))
    array([1, 0])
    """
    backend_of(scores)
    if scores.ndim != 2:
        raise ValueError(f"one_cold: expected scores of shape (batch, classes), got {scores.shape}")
    return scores.argmax(axis=1)
