"""The values between the layers while a model is lowered, and how they become numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from minibnn.encoding import Standardize
from minibnn.layers import Rescale
from minibnn.packed.compile import bounds
from minibnn.packed.compile.fold import Fold
from minibnn.packed.integer_stages import MOST, ScaleStage
from minibnn.packed.ranges import Range, constant, range_of
from minibnn.packed.stages import HostArray, PoolStage, Shape, Stage

Step: TypeAlias = "Stage | tuple[Fold, Shape]"
Affine: TypeAlias = list[tuple[Fraction, Fraction]]  # slope and offset of each channel


@dataclass(frozen=True, eq=False)
class Value:
    """What the program holds after a layer.

    Attributes:
        holds: pixels, bits, numbers or acc (accumulators).
        at: the number of the step that gives it, -1 for the input.
        base: the shape of a sample as that step gives it.
        shape: the shape of a sample as the layers see it, in the same order.
        range: of the integers, in the channels of `base`.
        unit: the value of a number of 1; that of accumulators is in the fold.
        error: see `bounds`; in the channels of `base`, and of accumulators in their own unit.
        fold: the layers since the accumulators; None for other values.
        later: pools after a batch norm, which the program runs after the sign.
        front: of the input, the layers so far, which take each of its values alone.
    """

    holds: str
    at: int
    base: Shape
    shape: Shape
    range: Range
    unit: Fraction
    error: HostArray
    fold: Fold | None = None
    later: tuple[PoolStage, ...] = ()
    front: tuple[Rescale | Standardize, ...] = ()

    @property
    def rescales(self) -> list[Rescale]:
        """The layers in front that rescale pixels."""
        return [layer for layer in self.front if isinstance(layer, Rescale)]

    @property
    def scaling(self) -> tuple[Fraction, Fraction]:
        """What they do together: ``scale pixel + offset``."""
        scale, offset = Fraction(1), Fraction(0)
        for layer in self.rescales:
            a, b = Fraction(layer.scale), Fraction(layer.offset)
            scale, offset = a * scale, a * offset + b
        return scale, offset

    @property
    def error_here(self) -> HostArray:
        """The errors in the channels of `shape`."""
        return bounds.of_shape(self.error, self.base, self.shape)

    @property
    def range_here(self) -> Range:
        """The range in the channels of `shape`."""
        return self.range.of_shape(self.base, self.shape)

    @property
    def rounded(self) -> bool:
        """Whether anything since the last sign was rounded."""
        return bool(self.error[bounds.SAME].any())


@dataclass(eq=False)
class Steps:
    """The program so far, and what turns one value into another."""

    steps: list[Step] = field(default_factory=list)

    def sources(self, *at: int) -> tuple[int, ...]:
        """The sources of the next stage, () for the step before it."""
        return () if at == (len(self.steps) - 1,) else at

    def put(
        self, stage: Stage, holds: str, unit: Fraction, error: HostArray, *taken: Range
    ) -> Value:
        """Add a stage; the value that it gives."""
        self.steps.append(stage)
        shape = stage.out_shape
        at = len(self.steps) - 1
        return Value(holds, at, shape, shape, range_of(stage, list(taken)), unit, error)

    def put_fold(self, value: Value, fold: Fold) -> Value:
        """Add the stage of a fold that ends in a sign or in levels, and the pools behind it."""
        shape = value.base
        self.steps.append((replace(fold, sources=self.sources(value.at)), shape))
        self.steps += value.later
        levels, error = len(fold.changes), bounds.no_error(shape[-1])
        if value.error[bounds.ANY].any():
            low, high = reach_of(value, fold.coefficients)
            first, last = (fold.changes[j][0] for j in (0, -1))
            least = np.array([float(n - last) for n in low])
            greatest = np.array([float(n - first) for n in high])
            step, most = (1 / levels, 1.0) if fold.gives_levels else (2.0, 2.0)
            off = gains(fold) * value.error * bounds.SLACK
            error = bounds.of_levels(off, least, greatest, step, most)
        base = value.later[-1].out_shape if value.later else shape
        found = Value(
            "bits", len(self.steps) - 1, base, value.shape,
            constant(-1, 1, shape[-1]), Fraction(1), error,
        )  # fmt: skip
        if fold.gives_levels:
            found = replace(
                found, holds="numbers", unit=Fraction(1, levels),
                range=constant(0, levels, shape[-1]),
            )  # fmt: skip
        return found

    def scaled(self, value: Value, unit: Fraction, of: Affine, error: HostArray) -> Value:
        """Numbers of this unit.

        .. equations::

            y = of[c] of v,     A = round(2^s slope / unit)
            B = round(2^s (offset / unit + 1/2) + (2^s slope / unit - A) middle of v)

        Without rounding, if all slopes and offsets are multiples of the unit.

        Args:
            value: v, integers.
            unit: of the result, so that no y is beyond `MOST` times it. Then A and B have bits for
                any shift from 0 on.
            of: y for each channel.
            error: of y.
        """
        low, high = (end.tolist() for end in value.range)
        # Of a channel that never changes, only its one value matters.
        of = [(a, b) if i < j else (Fraction(0), a * i + b)
              for (a, b), i, j in zip(of, low, high, strict=True)]  # fmt: skip
        slopes, offsets = [a / unit for a, _ in of], [b / unit for _, b in of]
        sizes = [max(abs(i), abs(j)) for i, j in zip(low, high, strict=True)]
        if all(n.denominator == 1 for n in (*slopes, *offsets)):
            shift, half = 0, Fraction(0)
        else:
            shift = _shift(slopes, offsets, sizes)
            half = Fraction(1, 2)
        A = np.array([round(a * 2**shift) for a in slopes], np.int64)
        # What A is rounded by counts from the middle of the range: that may be far from 0.
        rests = [(a * 2**shift - int(n)) * (i + j) / 2
                 for a, n, i, j in zip(slopes, A, low, high, strict=True)]  # fmt: skip
        B = np.array(
            [round((b + half) * 2**shift + r) for b, r in zip(offsets, rests, strict=True)],
            np.int64,
        )
        stage = ScaleStage(
            value.base, value.base, value.holds, A, B, shift, sources=self.sources(value.at)
        )
        error = error.copy()
        if half:
            lost = 0.5 + 2.0**-shift * (0.25 * np.subtract(high, low) + 0.5)
            error[: bounds.FLOAT] += float(unit) * lost
        found = self.put(stage, "numbers", unit, error, value.range)
        return replace(found, shape=value.shape)


def as_affine(value: Value) -> Affine:
    """The value of each channel as a function of its integers."""
    if value.fold is not None:
        return value.fold.coefficients
    pair = value.scaling if value.holds == "pixels" else (value.unit, Fraction(0))
    return [pair] * value.base[-1]


def error_of(value: Value) -> HostArray:
    """The errors of the value of each channel, after its fold."""
    if value.fold is None:
        return value.error
    error = gains(value.fold) * value.error
    largest = np.maximum(*(abs(end) for end in value.range)).astype(float)
    error[bounds.FLOAT] += value.fold.float_errors(largest)
    return error


def gains(fold: Fold) -> HostArray:
    """The size of the slope of each channel."""
    return np.array([float(abs(slope)) for slope, _ in fold.coefficients])


def reach_of(value: Value, of: Affine) -> tuple[list[Fraction], list[Fraction]]:
    """The least and the greatest value of each channel."""
    ends = [
        sorted((a * int(i) + b, a * int(j) + b))
        for (a, b), i, j in zip(of, *value.range, strict=True)
    ]
    return [low for low, _ in ends], [high for _, high in ends]


def common_unit(of: Sequence[tuple[Fraction, Fraction]]) -> Fraction:
    """The greatest number of which all slopes and offsets are multiples."""
    numbers = {abs(n) for pair in of for n in pair if n}
    if not numbers:
        return Fraction(1)
    common = math.lcm(*(n.denominator for n in numbers))
    return Fraction(math.gcd(*(int(n * common) for n in numbers)), common)


def fixed_point(largest: Fraction) -> Fraction:
    """The finest power of two of which numbers hold multiples up to this size, and one more."""
    if not largest:
        return Fraction(1)
    ratio = (MOST - 1) / largest
    exponent = ratio.numerator.bit_length() - ratio.denominator.bit_length()
    unit = 1 / Fraction(2) ** exponent
    return unit if largest / unit <= MOST - 1 else 2 * unit


def _shift(slopes: list[Fraction], offsets: list[Fraction], sizes: list[int]) -> int:
    """The most bits behind the point with which A stays below 2^31 and A v + B below 2^52."""
    steep = max(abs(a) for a in slopes)
    sums = max(abs(a) * n + abs(b) for a, b, n in zip(slopes, offsets, sizes, strict=True)) + 1
    return min(48, 30 - _bits(steep), 51 - _bits(sums))


def _bits(n: Fraction) -> int:
    """An exponent with ``n < 2^exponent``, at most one too large."""
    return n.numerator.bit_length() - n.denominator.bit_length() + 1
