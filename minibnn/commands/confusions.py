"""The most frequent confusions of classes, as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minibnn.packed.stages import HostArray

PAIRS = 5  # of classes


def worst_pairs(labels: HostArray, predicted: HostArray, names: Sequence[str] | None = None) -> str:
    """The most frequent confusions: ``4 as 9 (12 of 982), 9 as 4 (10 of 1,009)``.

    Args:
        labels: the true classes.
        predicted: what the model says.
        names: of the classes, to print in the place of their numbers.

    >>> worst_pairs(np.array([4, 4, 4, 9, 1]), np.array([9, 9, 4, 4, 1]))
    '4 as 9 (2 of 3), 9 as 4 (1 of 1)'
    """

    def name(label: int) -> str:
        return str(label) if names is None else names[label]

    wrong = predicted != labels
    pairs = np.stack([labels[wrong], predicted[wrong]])
    kinds, counts = np.unique(pairs.astype(np.int64), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:PAIRS]
    return ", ".join(
        f"{name(true)} as {name(taken)} ({count:,} of {int((labels == true).sum()):,})"
        for (true, taken), count in zip(kinds.T[order].tolist(), counts[order], strict=True)
    )
