"""Which samples go into the second part of a split: by class, or by whole groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.data.errors import SamplesError

__all__ = ["chosen", "chosen_groups"]

_Any = np.ndarray[Any, Any]


def chosen(who: str, labels: _Any, fraction: float, rng: np.random.Generator) -> _Any:
    """The mask of the second part: the same share of each class, as far as whole samples allow.

    Each class keeps a sample in the first part.

    Shapes: labels (n,) integers; result (n,) bool.

    Raises:
        SamplesError: for fewer than two samples.
    """
    n = len(labels)
    _require_two(who, "samples", n)
    counts = np.bincount(labels)
    wanted = min(max(1, round(fraction * n)), n - 1)
    share = fraction * counts
    taken = np.floor(share).astype(int)
    # What rounding down left goes to the classes with the largest remainders.
    order = np.argsort(-(share - taken) + 1e-9 * rng.random(len(counts)), kind="stable")
    for label in [*order, *order[np.argsort(-counts[order], kind="stable")]]:
        if taken.sum() < wanted and taken[label] + 1 < max(counts[label], 1):
            taken[label] += 1
    mask = np.zeros(n, bool)
    for label, count in enumerate(taken):
        mask[rng.permutation(np.flatnonzero(labels == label))[:count]] = True
    if not mask.any():  # each class has one sample
        mask[rng.integers(n)] = True
    return mask


def chosen_groups(
    who: str, labels: _Any, groups: Any, fraction: float, rng: np.random.Generator
) -> _Any:
    """The mask of the second part: whole groups, whose classes come near to their share.

    Groups are looked at from the largest to the smallest, equal ones in random order; each goes
    into the second part if that brings its counts of the classes nearer to `fraction` of all.

    Shapes: labels (n,) integers, groups (n,); result (n,) bool.

    Raises:
        SamplesError: for fewer than two groups.
    """
    values, of = np.unique(groups, return_inverse=True)
    _require_two(who, "groups", len(values))
    counts = np.zeros((len(values), labels.max() + 1))
    np.add.at(counts, (of, labels), 1)
    left = fraction * counts.sum(0)
    order = rng.permutation(len(values))
    order = order[np.argsort(-counts.sum(1)[order], kind="stable")]
    second = np.zeros(len(values), bool)
    for group in order:
        if np.square(left - counts[group]).sum() < np.square(left).sum():
            second[group] = True
            left = left - counts[group]
    if not second.any():
        second[order[-1]] = True  # the smallest
    if second.all():
        second[order[0]] = False
    mask: _Any = second[of]
    return mask


def _require_two(who: str, what: str, count: int) -> None:
    if count < 2:
        hint = f"bring more {what}, or test with another file"
        raise SamplesError(who, f"at least two {what} to split", f"{count}", hint)
