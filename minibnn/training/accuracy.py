"""How many answers are right."""

from __future__ import annotations

from minibnn.backend import Array, backend_of


def count_correct(logits: Array, labels: Array) -> Array:
    """In how many rows the greatest logit, the first of equals, is finite and the label's.

    A nan counts as the greatest, so a row that has one is never right.

    Shapes: logits (N, K); labels (N,) integers; the count (), an int64.
    """
    right = (logits.argmax(axis=1) == labels) & backend_of(logits).xp.isfinite(logits.max(axis=1))
    return right.sum(dtype="int64")
