"""The last layer's affine in integers, with every comparison of two classes as it truly is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations

import numpy as np

from minibnn.packed.errors import PackError
from minibnn.packed.exact import Line, compare
from minibnn.packed.fold import Fold
from minibnn.packed.stages import HostArray, ScoreStage, Shape

BITS = 61  # of a value's size in int64, with room for a sum or a slack beside it


@dataclass(frozen=True, eq=False)
class _Values:
    """What a class's line makes of each accumulator that it can have, in increasing order.

    Attributes:
        line: of the class.
        acc: the accumulators, ordered so that the line rises.
        near: its values, scaled alike for all classes and rounded to integers.
    """

    line: Line
    acc: HostArray
    near: HostArray


@dataclass(frozen=True, eq=False)
class _Order:
    """How the values of class i lie among those of class j.

    Attributes:
        i: a class.
        j: another.
        below: for each value of i, how many values of j are less.
        not_above: how many are less or equal.
    """

    i: int
    j: int
    below: HostArray
    not_above: HostArray


def score_stage(fold: Fold, shape: Shape) -> ScoreStage:
    """Integers A and B whose comparisons are those of exact arithmetic, in as few bits as it takes.

    .. code-block:: text

        A = round(2^s a),  B = round(2^s b)             the logit is a acc + b
        sign(score_i - score_j) = sign(logit_i - logit_j)
            for all classes i and j and all accumulators of both, ties included

    s is the smallest integer for which that holds. Of two classes not all pairs of accumulators
    are compared: each class's values lie on a line, so in order, and it is enough to know for each
    value of i how many values of j are less, and how many are less or equal.

    Where all classes share one variance and one shift (no batch norm, or `TensorNorm`), these and
    the common size of the slopes drop out of every comparison; a and b are then taken without them,
    which leaves rational numbers only.

    Raises:
        PackError: if no s does it in 64 bits.
    """
    lines = fold.lines
    ranking = _without_common(lines)
    low, high = (bound.tolist() for bound in fold.product.reach())
    exact = [line.coefficients() for line in ranking]
    values = _values(ranking, exact, low, high, fold.product.step)
    orders = [_order(values, i, j) for i, j in combinations(range(len(lines)), 2)]
    largest = max((abs(c) for pair in exact for c in pair), default=Fraction(0))
    for s in _shifts(largest):
        A, B = ([round(pair[k] * Fraction(2) ** s) for pair in exact] for k in (0, 1))
        reach = [max(abs(a * acc) for acc in ends) for a, *ends in zip(A, low, high, strict=True)]
        most = max(r + abs(b) for r, b in zip(reach, B, strict=True))
        if most >= 2**62:
            break
        scores = [a * v.acc + b for a, b, v in zip(A, B, values, strict=True)]
        if all(_holds(scores, order) for order in orders):
            logits = [line.coefficients() for line in lines]
            scale, offset = (
                np.array([_float32(pair[k]) for pair in logits], np.float32) for k in (0, 1)
            )
            a64, b64 = np.array(A, np.int64), np.array(B, np.int64)
            stage = ScoreStage(shape, shape, a64, b64, s, True, scale, offset)
            return replace(stage, fits_int32=stage.largest(fold.product) < 2**31)
    raise PackError(
        f"{fold.where}: expected classes that integers of 64 bits can compare, got parameters too "
        "far apart, or ties that rounding breaks; end the model in TensorNorm, or in a Dense "
        "without batch norm"
    )


def _without_common(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Lines that compare in the same way, with rational coefficients where that is easy."""
    first = lines[0]
    if any((line.variance, line.beta) != (first.variance, first.beta) for line in lines):
        return lines
    unit = max(abs(line.slope) for line in lines) or Fraction(1)
    one, zero = Fraction(1), Fraction(0)
    return tuple(Line(line.slope / unit, line.start / unit, one, zero) for line in lines)


def _values(
    lines: tuple[Line, ...],
    exact: list[tuple[Fraction, Fraction]],
    low: list[int],
    high: list[int],
    step: int,
) -> list[_Values]:
    """Each class's values as integers of 62 bits, off by less than 1."""
    sizes = [
        abs(a * acc + b) for (a, b), *ends in zip(exact, low, high, strict=True) for acc in ends
    ]
    scale = _power_below(BITS, max(sizes))
    result = []
    for line, (a, b), least, most in zip(lines, exact, low, high, strict=True):
        acc = np.arange(least, most + 1, step)
        acc = acc[::-1] if line.slope < 0 else acc
        # In fixed point: 64 bits more than the result has, so that the products' error is small.
        big_a, big_b = (round(v * scale * 2**64) for v in (a, b))
        near = np.array([(big_a * n + big_b) >> 64 for n in acc.tolist()], np.int64)
        result.append(_Values(line, acc, near))
    return result


def _power_below(bits: int, size: Fraction) -> Fraction:
    """The greatest power of two that scales `size` to so many bits at most."""
    if size == 0:
        return Fraction(1)
    length = size.numerator.bit_length() - size.denominator.bit_length()
    return Fraction(2) ** (bits - 1 - length)


def _order(values: list[_Values], i: int, j: int) -> _Order:
    """Counts by the integers where these are apart, by exact arithmetic where they are close."""
    one, other = values[i], values[j]
    if one.line.parallel(other.line):
        return _Order(i, j, *_parallel_counts(one, other))
    slack = 2  # each is off by less than 1
    sure = np.searchsorted(other.near, one.near - slack, side="left")
    perhaps = np.searchsorted(other.near, one.near + slack, side="right")
    below, not_above = sure.copy(), sure.copy()
    for k in np.flatnonzero(sure < perhaps):
        acc, span = int(one.acc[k]), (int(sure[k]), int(perhaps[k]))
        below[k] = _count(one.line, acc, other, span, least=1)
        not_above[k] = _count(one.line, acc, other, span, least=0)
    return _Order(i, j, below, not_above)


def _parallel_counts(one: _Values, other: _Values) -> tuple[HostArray, HostArray]:
    """The counts of two lines of one rational slope, where ties are common; in whole numbers.

    With d the difference of the starts over the slope, a value of j is less if its accumulator is
    less than that of i plus d (greater, if the slope is negative).
    """
    d = (one.line.start - other.line.start) / one.line.slope
    up, down, acc = math.ceil(d), math.floor(d), np.sort(other.acc)
    less = np.searchsorted(acc, one.acc + up, side="left")
    not_greater = np.searchsorted(acc, one.acc + down, side="right")
    if one.line.slope > 0:
        return less, not_greater
    return len(acc) - not_greater, len(acc) - less


def _count(line: Line, acc: int, other: _Values, span: tuple[int, int], least: int) -> int:
    """How many of the other's values have ``sign(own - other's) >= least``; the first ones do."""
    start, stop = span
    while start < stop:
        middle = (start + stop) // 2
        if compare(line, acc, other.line, int(other.acc[middle])) >= least:
            start = middle + 1
        else:
            stop = middle
    return start


def _holds(scores: list[HostArray], order: _Order) -> bool:
    """Whether integer scores lie among each other in this order."""
    one, other = scores[order.i], scores[order.j]
    below = np.searchsorted(other, one, side="left")
    not_above = np.searchsorted(other, one, side="right")
    return bool((below == order.below).all() and (not_above == order.not_above).all())


def _shifts(largest: Fraction) -> Iterator[int]:
    """From the one that leaves at most a single bit upwards."""
    if largest == 0:
        return iter((0,))
    length = largest.numerator.bit_length() - largest.denominator.bit_length()
    return iter(range(-length - 1, -length + 64))


def _float32(x: Fraction) -> float:
    try:
        value = float(x)
    except OverflowError:
        value = math.copysign(math.inf, x)
    with np.errstate(over="ignore"):
        return float(np.float32(value))
