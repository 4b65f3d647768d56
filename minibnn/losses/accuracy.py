"""Counting right answers."""

from __future__ import annotations

from minibnn.backend import Array, backend_of


def right_classes(logits: Array, labels: Array) -> Array:
    """Whether the label has the greatest logit, row by row.

    Of several equal logits, the first counts.

    The greatest logit must be finite. A nan counts as the greatest, so a row with nan is never
    right.

    Shapes: logits (N, K); labels (N,) integers; the result (N,) bool.
    """
    return (logits.argmax(axis=1) == labels) & backend_of(logits).xp.isfinite(logits.max(axis=1))


def count_correct(logits: Array, labels: Array) -> Array:
    """The number of rows in which the label has the greatest logit; see `right_classes`.

    Shapes: logits (N, K); labels (N,) integers; the count (), an int64.
    """
    return right_classes(logits, labels).sum(dtype="int64")


def right_signs(scores: Array, targets: Array) -> Array:
    """Whether each score says what its target says: 1 for a score of at least 0, else 0.

    A score that is not finite is never right. A target of at least 1/2 counts as 1.

    Shapes: scores and targets any, the same; the result, too, bool.
    """
    return ((scores >= 0) == (targets >= 0.5)) & backend_of(scores).xp.isfinite(scores)
