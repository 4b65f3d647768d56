"""Counting right answers."""

from __future__ import annotations

from minibnn.backend import Array, backend_of


def count_correct(logits: Array, labels: Array) -> Array:
    """The number of rows in which the label has the greatest logit.

    Of several equal logits, the first counts.

    The greatest logit must be finite. A nan counts as the greatest, so a row with nan is never
    right.

    Shapes: logits (N, K); labels (N,) integers; the count (), an int64.
    """
    right = (logits.argmax(axis=1) == labels) & backend_of(logits).xp.isfinite(logits.max(axis=1))
    return right.sum(dtype="int64")
