"""The last layer in integers whose comparisons equal those of the exact logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from minibnn.packed.compile.exact import Line
from minibnn.packed.compile.fold import Fold
from minibnn.packed.compile.orders import order, parallel_order
from minibnn.packed.errors import PackError
from minibnn.packed.stages import Product, ScoreStage, Shape

# Limits on what is compared: greatest minus least accumulator, and all values of all classes.
SPAN, VALUES = 2**24, 2**24
SHIFT = 2**10  # the largest, of scores that are rounded


def score_stage(fold: Fold, shape: Shape) -> ScoreStage:
    """The result of `ranked_scores`, or else of `precise_scores`."""
    return ranked_scores(fold, shape) or precise_scores(fold, shape)


def ranked_scores(fold: Fold, shape: Shape) -> ScoreStage | None:
    """Integers A and B, as small as possible, whose comparisons are those of exact arithmetic.

    .. equations::

        A = round(2^s a),  B = round(2^s b)             the logit is a acc + b
        sign(score_i - score_j) = sign(logit_i - logit_j)
            for all classes i and j and all accumulators of both, ties included

    s is the smallest integer for which that holds; `orders` has the check.

    All classes may share one variance and one shift (no batch norm, or `TensorNorm`). Then
    comparisons do not depend on these two, on the common size of the slopes, or on the common part
    of the starts. So a and b are taken without all of these, and are rational. If also all slopes
    are equal, and no s fits into 64 bits (biases 0, 1e-20 and 1e30), `_ranked` gives A and B.

    A single output says class 1 from 0 on. Its score is the distance to the accumulator at which
    the exact logit changes its sign: A is 1 or -1.

    None where something before was rounded, so that the order of the exact logits is not known, and
    for too many integers that are no `Product`'s: see `precise_scores`.

    Raises:
        PackError: if no integers of 64 bits will do, and for too many accumulators to compare.
    """
    if len(fold.lines) == 1:
        return _one_score(fold, shape)
    if fold.rounded:
        return None
    ranking = _without_common(fold.lines)
    low, high = (bound.tolist() for bound in fold.product.reach())
    span, values = max(high) - min(low), _values(low, high, fold.product.step)
    parallel = all(line.parallel(ranking[0]) for line in ranking)
    if span > SPAN or (values > VALUES and not parallel):
        if not isinstance(fold.product, Product):
            return None
        raise PackError(
            f"{fold.where}: expected sums that span at most {SPAN:,}, and at most {VALUES:,} sums "
            f"of all classes together, got {span:,} and {values:,} from {fold.product.width:,} "
            f"inputs and {len(low):,} classes; put a layer with a sign before it"
        )
    found = _rounded(ranking, low, high, fold.product.step)
    if found is None and parallel:
        found = *_ranked(ranking, span), 0
    if found is None and not isinstance(fold.product, Product):
        return None
    if found is None:
        raise PackError(
            f"{fold.where}: expected classes that integers of 64 bits can compare, got parameters "
            "too far apart, or ties that rounding breaks; packable with any finite parameters is a "
            "last Dense with weights of +1 and -1, followed by TensorNorm or no batch norm"
        )
    return _stage(fold, shape, *found)


def precise_scores(fold: Fold, shape: Shape) -> ScoreStage:
    """``A = round(2^s a)``, ``B = round(2^s b)`` with the largest s for scores of 32 bits.

    Raises:
        PackError: if there is none.
    """
    low, high = (bound.tolist() for bound in fold.product.reach())
    sizes = [max(abs(i), abs(j), 1) for i, j in zip(low, high, strict=True)]
    largest = max(abs(a) * n + abs(b) for (a, b), n in zip(fold.coefficients, sizes, strict=True))
    most = 2**31 - 2 - max(sizes)  # rounding A may add half of an accumulator, B half of 1
    s = 0
    if largest:
        ratio = most / largest
        s = ratio.numerator.bit_length() - ratio.denominator.bit_length()
        s -= largest * Fraction(2) ** s > most
    if most <= 0 or abs(s) > SHIFT:
        raise PackError(
            f"{fold.where}: expected outputs that integers of 32 bits hold, got sums of up to "
            f"{max(sizes):,} and outputs of up to {float(largest):.3g}; put a batch norm behind it"
        )
    A, B = ([round(pair[k] * Fraction(2) ** s) for pair in fold.coefficients] for k in (0, 1))
    return _stage(fold, shape, A, B, s)


def _one_score(fold: Fold, shape: Shape) -> ScoreStage:
    """The score of a single output: at least 0 where the exact logit is."""
    (threshold,), (falling,) = (found.tolist() for found in fold.exact_thresholds())
    return _stage(fold, shape, [-1 if falling else 1], [threshold if falling else -threshold], 0)


def _stage(fold: Fold, shape: Shape, A: list[int], B: list[int], shift: int) -> ScoreStage:
    scale, offset = (
        np.array([_float32(pair[k]) for pair in fold.coefficients], np.float32) for k in (0, 1)
    )
    a64, b64 = np.array(A, np.int64), np.array(B, np.int64)
    numbers = a64, b64, shift, True, scale, offset
    stage = ScoreStage(shape, shape, *numbers, sources=fold.sources)
    return replace(stage, fits_int32=stage.largest(*fold.product.reach()) < 2**31)


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

    .. equations::

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

    None also for lines that would have to be sorted, with more than `VALUES` values.
    """
    holds = parallel_order(lines, low, high, step)
    if holds is None:
        if _values(low, high, step) > VALUES:
            return None
        holds = order(lines, low, high, step)
    exact = [line.coefficients() for line in lines]
    largest = max((abs(c) for pair in exact for c in pair), default=Fraction(0))
    candidates = _candidates(exact, low, high, largest)
    return next((found for found in candidates if holds(*found[:2])), None)


def _values(low: list[int], high: list[int], step: int) -> int:
    """How many values all classes have together."""
    return sum((b - a) // step + 1 for a, b in zip(low, high, strict=True))


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


def _float32(x: Fraction) -> float:
    try:
        value = float(x)
    except OverflowError:
        value = math.copysign(math.inf, x)
    with np.errstate(over="ignore"):
        return float(np.float32(value))
