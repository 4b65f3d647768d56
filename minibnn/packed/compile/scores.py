"""The last layer in integers whose comparisons equal those of the exact logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import chain, combinations, count

import numpy as np

from minibnn.packed.compile.exact import Line, compare
from minibnn.packed.compile.fold import Fold
from minibnn.packed.errors import PackError
from minibnn.packed.stages import HostArray, ScoreStage, Shape

# Limits on what is compared: greatest minus least accumulator, and that times all pairs of classes.
SPAN, VALUES = 2**24, 2**33
BITS = 61  # of a value in int64, which leaves room for sums and for the slack


@dataclass(frozen=True, eq=False)
class _Values:
    """The values of a class for all its possible accumulators, in increasing order.

    Attributes:
        line: of the class.
        acc: the accumulators, in the order in which the line rises.
        fixed: the line's two coefficients in fixed point, with one scale for all classes.
    """

    line: Line
    acc: HostArray
    fixed: tuple[int, int]

    @cached_property
    def near(self) -> HostArray:
        """The values as integers of 62 bits, with an error below 1."""
        a, b = self.fixed
        numbers = ((a * int(n) + b) >> 64 for n in self.acc)
        return np.fromiter(numbers, np.int64, len(self.acc))


@dataclass(frozen=True, eq=False)
class _Order:
    """How the values of class i lie among those of class j.

    Attributes:
        i: a class.
        j: another.
        below: for each value of i, the number of values of j that are less.
        not_above: likewise, that are less or equal.
    """

    i: int
    j: int
    below: HostArray
    not_above: HostArray


def score_stage(fold: Fold, shape: Shape) -> ScoreStage:
    """Integers A and B, as small as possible, whose comparisons are those of exact arithmetic.

    .. code-block:: text

        A = round(2^s a),  B = round(2^s b)             the logit is a acc + b
        sign(score_i - score_j) = sign(logit_i - logit_j)
            for all classes i and j and all accumulators of both, ties included

    s is the smallest integer for which that holds. The values of a class lie on a line, so they are
    ordered, and not all pairs of accumulators need to be compared: it is enough to know, for each
    value of i, how many values of j are less, and how many are less or equal.

    All classes may share one variance and one shift (no batch norm, or `TensorNorm`). Then
    comparisons do not depend on these two, on the common size of the slopes, or on the common part
    of the starts. So a and b are taken without all of these, and are rational. If also all slopes
    are equal, and no s fits into 64 bits (biases 0, 1e-20 and 1e30), `_ranked` gives A and B.

    Raises:
        PackError: if no integers of 64 bits will do, and for too many accumulators to compare.
    """
    ranking = _without_common(fold.lines)
    low, high = (bound.tolist() for bound in fold.product.reach())
    span = max(high) - min(low)
    values = span * math.comb(len(low), 2)
    if span > SPAN or values > VALUES:
        raise PackError(
            f"{fold.where}: expected sums that span at most {SPAN:,}, and at most {VALUES:,} as "
            f"span times the pairs of classes, got {span:,} and {values:,} from "
            f"{fold.product.width:,} inputs and {len(low):,} classes; put a layer with a sign "
            "before it"
        )
    found = _rounded(ranking, low, high, fold.product.step)
    if found is None and all(line.parallel(ranking[0]) for line in ranking):
        found = *_ranked(ranking, span), 0
    if found is None:
        raise PackError(
            f"{fold.where}: expected classes that integers of 64 bits can compare, got parameters "
            "too far apart, or ties that rounding breaks; packable with any finite parameters is a "
            "last Dense with weights of +1 and -1, followed by TensorNorm or no batch norm"
        )
    A, B, shift = found
    logits = [line.coefficients() for line in fold.lines]
    scale, offset = (np.array([_float32(pair[k]) for pair in logits], np.float32) for k in (0, 1))
    a64, b64 = np.array(A, np.int64), np.array(B, np.int64)
    stage = ScoreStage(shape, shape, a64, b64, shift, True, scale, offset)
    return replace(stage, fits_int32=stage.largest(fold.product) < 2**31)


def _without_common(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Lines with the same comparisons, made rational if all share variance and shift."""
    first = lines[0]
    if any((line.variance, line.beta) != (first.variance, first.beta) for line in lines):
        return lines
    unit = max(abs(line.slope) for line in lines) or Fraction(1)
    one, zero = Fraction(1), Fraction(0)
    # If all starts are on one side of 0, they move until the nearest is 0, so that B is small.
    starts = [line.start for line in lines]
    common = max(min(starts), zero) + min(max(starts), zero)
    return tuple(Line(line.slope / unit, (line.start - common) / unit, one, zero) for line in lines)


def _ranked(lines: tuple[Line, ...], span: int) -> tuple[list[int], list[int]]:
    """A and B of lines with one rational slope and any starts, for accumulators within `span`.

    .. code-block:: text

        logit = slope (acc + whole + rest)        whole an integer, 0 <= rest < 1
        score = +-(n (acc + whole) + rank)        the rank of rest among the n different rests

    In both, different whole numbers decide, and otherwise the rests do. A gap between neighbouring
    wholes that is wider than all accumulators may be shortened.
    """
    slope = lines[0].slope
    if slope == 0:
        starts = sorted({line.start for line in lines})
        return [0] * len(lines), [starts.index(line.start) for line in lines]
    ratios = [line.start / slope for line in lines]
    rests = sorted({r - math.floor(r) for r in ratios})
    position, least, last = {}, 0, None
    for whole in sorted({math.floor(r) for r in ratios}):
        least += 0 if last is None else min(whole - last, span + 2)
        position[whole], last = least, whole
    n, sign = len(rests), 1 if slope > 0 else -1
    B = [n * position[math.floor(r)] + rests.index(r - math.floor(r)) for r in ratios]
    return [sign * n] * len(lines), [sign * b for b in B]


def _rounded(
    lines: tuple[Line, ...], low: list[int], high: list[int], step: int
) -> tuple[list[int], list[int], int] | None:
    """A, B and the smallest s for which all classes compare as their lines do, or None.

    An order takes as much memory as the accumulators, so there is only one at a time. A candidate
    that fails for one pair of classes is dropped; one that holds for all pairs is returned.
    """
    exact = [line.coefficients() for line in lines]
    values = _values(lines, exact, low, high, step)
    largest = max((abs(c) for pair in exact for c in pair), default=Fraction(0))
    candidates = _candidates(exact, low, high, largest)
    found = next(candidates, None)
    pairs = math.comb(len(lines), 2)
    rounds = chain.from_iterable(combinations(range(len(lines)), 2) for _ in count())
    agreed = 0
    while found is not None and agreed < pairs:
        order = _order(values, *next(rounds))
        while found is not None and not _holds(values, order, found):
            found, agreed = next(candidates, None), 0
        agreed += 1
    return found


def _candidates(
    exact: list[tuple[Fraction, Fraction]], low: list[int], high: list[int], largest: Fraction
) -> Iterator[tuple[list[int], list[int], int]]:
    """A, B and s, from an s that leaves at most one bit, upwards as long as scores fit."""
    length = largest.numerator.bit_length() - largest.denominator.bit_length()
    for s in range(-length - 1, -length + 64) if largest else (0,):
        A, B = ([round(pair[k] * Fraction(2) ** s) for pair in exact] for k in (0, 1))
        reach = [max(abs(a * acc) for acc in ends) for a, *ends in zip(A, low, high, strict=True)]
        if max(r + abs(b) for r, b in zip(reach, B, strict=True)) >= 2**62:
            return
        yield A, B, s


def _values(
    lines: tuple[Line, ...],
    exact: list[tuple[Fraction, Fraction]],
    low: list[int],
    high: list[int],
    step: int,
) -> list[_Values]:
    """The values of each class, with one fixed-point scale for all."""
    sizes = [
        abs(a * acc + b) for (a, b), *ends in zip(exact, low, high, strict=True) for acc in ends
    ]
    scale = _power_below(BITS, max(sizes))
    result = []
    # All classes share one array of accumulators, since it may be large.
    first, every = min(low), np.arange(min(low), max(high) + 1, step)
    for line, (a, b), least, most in zip(lines, exact, low, high, strict=True):
        acc = every[(least - first) // step : (most - first) // step + 1]
        acc = acc[::-1] if line.slope < 0 else acc
        # 64 bits more than the result has, so that the products have small errors.
        result.append(_Values(line, acc, (round(a * scale * 2**64), round(b * scale * 2**64))))
    return result


def _power_below(bits: int, size: Fraction) -> Fraction:
    """The greatest power of two that scales `size` to at most this many bits."""
    if size == 0:
        return Fraction(1)
    length = size.numerator.bit_length() - size.denominator.bit_length()
    return Fraction(2) ** (bits - 1 - length)


def _order(values: list[_Values], i: int, j: int) -> _Order:
    """Counts by fixed-point values; where these are close, by exact arithmetic."""
    one, other = values[i], values[j]
    if one.line.rational and other.line.rational:
        return _Order(i, j, *_rational_counts(one, other))
    slack = 2  # each value has an error below 1
    sure = np.searchsorted(other.near, one.near - slack, side="left")
    perhaps = np.searchsorted(other.near, one.near + slack, side="right")
    below, not_above = sure.copy(), sure.copy()
    for k in np.flatnonzero(sure < perhaps):
        acc, span = int(one.acc[k]), (int(sure[k]), int(perhaps[k]))
        below[k] = _count(one.line, acc, other, span, least=1)
        not_above[k] = _count(one.line, acc, other, span, least=0)
    return _Order(i, j, below, not_above)


def _rational_counts(one: _Values, other: _Values) -> tuple[HostArray, HostArray]:
    """The counts of two lines without roots, in whole numbers, since ties are common there.

    Times the common denominator, the lines are ``p n + q`` and ``r m``. A value of j is less
    if m is less than (p n + q) / r, or, for negative r, greater.
    """
    numbers = one.line.slope, one.line.start - other.line.start, other.line.slope
    common = math.lcm(*(number.denominator for number in numbers))
    p, q, r = (int(number * common) for number in numbers)
    size = abs(p) * int(abs(one.acc).max()) + abs(q)
    value = one.acc.astype(object if max(size, abs(r)) >= 2**62 else np.int64) * p + q
    n = len(other.acc)
    if r == 0:
        return n * (value > 0), n * (value >= 0)
    acc = np.sort(other.acc)
    # Rounded up and down, and clipped to just beyond all accumulators, which fits into int64.
    ends = int(acc[0]) - 1, int(acc[-1]) + 1
    up, down = (np.clip(v, *ends).astype(np.int64) for v in (-(-value // r), value // r))
    less = np.searchsorted(acc, up, side="left")
    not_greater = np.searchsorted(acc, down, side="right")
    return (less, not_greater) if r > 0 else (n - not_greater, n - less)


def _count(line: Line, acc: int, other: _Values, span: tuple[int, int], least: int) -> int:
    """The number of values of `other` for which ``sign(own - other's) >= least``, by bisection."""
    start, stop = span
    while start < stop:
        middle = (start + stop) // 2
        if compare(line, acc, other.line, int(other.acc[middle])) >= least:
            start = middle + 1
        else:
            stop = middle
    return start


def _holds(values: list[_Values], order: _Order, found: tuple[list[int], list[int], int]) -> bool:
    """Whether the integer scores of two classes are in this order."""
    A, B, _ = found
    one, other = (A[c] * values[c].acc + B[c] for c in (order.i, order.j))
    below = np.searchsorted(other, one, side="left")
    not_above = np.searchsorted(other, one, side="right")
    return bool((below == order.below).all() and (not_above == order.not_above).all())


def _float32(x: Fraction) -> float:
    try:
        value = float(x)
    except OverflowError:
        value = math.copysign(math.inf, x)
    with np.errstate(over="ignore"):
        return float(np.float32(value))
