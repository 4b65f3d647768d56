"""Whether integer scores compare as exact logits do, for all accumulators of all classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cmp_to_key
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from minibnn.packed.compile.exact import Line, compare
from minibnn.packed.stages import HostArray

BITS = 61  # of a value in int64, which leaves room for sums and for the slack
LIMB = 30  # bits of a part of a long integer; times an accumulator it fits into int64
CHUNK = 2**16  # values that are compared at once

# Whether integers A and B for each class compare as their lines do.
Holds: TypeAlias = Callable[[Sequence[int], Sequence[int]], bool]


def parallel_order(
    lines: Sequence[Line], low: list[int], high: list[int], step: int
) -> Holds | None:
    """The check for lines of one rational slope; None if they do not cross everywhere.

    .. equations::

        acc = low + step m,   logit_i - logit_0 = slope step (m_i - m_0 + v_i)

    Only the numbers v matter. For two classes, ``m_i - m_j`` is any integer, so each comparison is
    decided by the whole part of ``v_i - v_j`` and by whether there is a rest. These agree for all
    pairs of classes if the whole part of each v agrees, and the rests have the same order. So there
    is no need to look at pairs.

    It takes for granted that the accumulators reach each point at which a comparison changes.
    """
    slope = lines[0].slope
    if slope == 0 or not all(line.parallel(lines[0]) for line in lines):
        return None
    v = [(line.start / slope + b) / step for line, b in zip(lines, low, strict=True)]
    reach = min((b - a) // step for a, b in zip(low, high, strict=True))
    if max(v) - min(v) > reach - 1:
        return None
    expected = _wholes_and_ranks([x - v[0] for x in v])

    def holds(A: Sequence[int], B: Sequence[int]) -> bool:
        a = A[0]
        if a == 0 or (a > 0) != (slope > 0) or any(other != a for other in A):
            return False
        ours = [Fraction(b - B[0], a) + (first - low[0]) for b, first in zip(B, low, strict=True)]
        return _wholes_and_ranks([x / step for x in ours]) == expected

    return holds


def _wholes_and_ranks(v: list[Fraction]) -> tuple[list[int], list[int]]:
    """The whole part of each number, and the rank of its rest among the different rests."""
    wholes = [math.floor(x) for x in v]
    rests = [x - whole for x, whole in zip(v, wholes, strict=True)]
    rank = {rest: i for i, rest in enumerate(sorted(set(rests)))}
    return wholes, [rank[rest] for rest in rests]


def order(lines: Sequence[Line], low: list[int], high: list[int], step: int) -> Holds:
    """The check for any lines: all values of all classes are sorted exactly, once.

    Then scores compare rightly if they do not fall along this order, are equal where values are,
    and rise from one value to the next, unless both are of one class, and of this class alone.
    (Classes are not compared with themselves, and their scores rise as their lines do.)
    """
    accs = [np.arange(a, b + 1, step) for a, b in zip(low, high, strict=True)]
    owner = np.repeat(np.arange(len(lines)), [len(acc) for acc in accs])
    acc = np.concatenate(accs)
    rational = all(line.rational for line in lines)
    places, ties = (_whole_order if rational else _fixed_order)(lines, owner, acc)
    owner, acc = owner[places], acc[places]
    # A group is a run of equal values. Of which class it is, or -1 if of several:
    starts = np.flatnonzero(np.concatenate([[True], ~ties]))
    first, last = np.minimum.reduceat(owner, starts), np.maximum.reduceat(owner, starts)
    alone = np.where(first == last, first, -1)
    rises = np.zeros(len(owner), bool)  # from the value before
    rises[starts[1:]] = (alone[1:] < 0) | (alone[1:] != alone[:-1])
    same = np.concatenate([[False], ties])

    def holds(A: Sequence[int], B: Sequence[int]) -> bool:
        a, b = np.array(A, np.int64), np.array(B, np.int64)
        for start in range(0, len(acc), CHUNK):
            part = slice(max(start - 1, 0), start + CHUNK)
            scores = a[owner[part]] * acc[part] + b[owner[part]]
            gap = np.diff(scores)
            if (gap < rises[part][1:]).any() or gap[same[part][1:]].any():
                return False
        return True

    return holds


def _whole_order(
    lines: Sequence[Line], owner: HostArray, acc: HostArray
) -> tuple[HostArray, HostArray]:
    """Values of lines without roots in rising order, and which equals the one before it.

    Times the common denominator they are integers, as long as need be: sums of parts of 30 bits.
    """
    common = math.lcm(*(n.denominator for line in lines for n in (line.slope, line.start)))
    pairs = [(int(line.slope * common), int(line.start * common)) for line in lines]
    most = int(abs(acc).max(initial=0))
    size = max(abs(p) * max(most, 1) + abs(q) for p, q in pairs)
    count = -(-(size.bit_length() + 1) // LIMB)  # and a bit for the sign
    slope, start = (np.array([_limbs(pair[k], count) for pair in pairs]) for k in (0, 1))
    carry, keys = np.zeros(len(acc), np.int64), []
    for k in range(count):
        total = slope[:, k][owner] * acc + start[:, k][owner] + carry
        carry = total >> LIMB
        keys.append(total & (2**LIMB - 1) if k < count - 1 else total)
    places = np.lexsort(keys)
    ties = np.ones(max(len(acc) - 1, 0), bool)
    for key in keys:
        ties &= np.diff(key[places]) == 0
    return places, ties


def _limbs(n: int, count: int) -> list[int]:
    """The parts of an integer from the lowest; the last has its sign."""
    return [n >> LIMB * k & (2**LIMB - 1) for k in range(count - 1)] + [n >> LIMB * (count - 1)]


def _fixed_order(
    lines: Sequence[Line], owner: HostArray, acc: HostArray
) -> tuple[HostArray, HostArray]:
    """Values of any lines in rising order, and which equals the one before it.

    They are sorted in fixed point, with an error below 1, and where that leaves it open, exactly.
    Many values of one class are open where its slope is tiny beside its shift. They are in order
    already, so they are sorted as runs, which `sorted` merges; only different classes take roots.
    """
    exact = [line.coefficients() for line in lines]
    most = int(abs(acc).max(initial=0))
    scale = _power_below(BITS, max(abs(a) * most + abs(b) for a, b in exact))
    # 32 bits more than the result has, in two parts whose products with `acc` fit into int64.
    high, low, start = (
        np.array([split(a, b) for a, b in exact], np.int64)
        for split in (
            lambda a, _: round(a * scale * 2**32) >> 32,
            lambda a, _: round(a * scale * 2**32) & (2**32 - 1),
            lambda _, b: round(b * scale),
        )
    )
    near = high[owner] * acc + (low[owner] * acc >> 32) + start[owner]
    signs = np.array([(line.slope > 0) - (line.slope < 0) for line in lines])
    places = np.argsort(near, kind="stable")
    close = np.diff(near[places]) <= 4  # each error is below 2
    ties = np.zeros(len(close), bool)

    def exactly(i: int, j: int) -> int:
        one, other = owner[i], owner[j]
        if one == other:
            return int(signs[one] * (acc[i] - acc[j]))
        return compare(lines[one], int(acc[i]), lines[other], int(acc[j]))

    edges = np.flatnonzero(np.diff(np.concatenate([[False], close, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2).tolist():
        open_ = places[begin : end + 1]
        runs = open_[np.lexsort((signs[owner[open_]] * acc[open_], owner[open_]))]
        run = sorted(runs.tolist(), key=cmp_to_key(exactly))
        places[begin : end + 1] = run
        ties[begin:end] = [exactly(i, j) == 0 for i, j in pairwise(run)]
    return places, ties


def _power_below(bits: int, size: Fraction) -> Fraction:
    """The greatest power of two that scales `size` to at most this many bits."""
    if size == 0:
        return Fraction(1)
    length = size.numerator.bit_length() - size.denominator.bit_length()
    return Fraction(2) ** (bits - 1 - length)
