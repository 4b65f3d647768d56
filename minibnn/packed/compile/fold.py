"""Bias, batch norm and sign as one integer threshold for each channel, found and certified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from minibnn.layers import Activation, ShiftBatchNorm
from minibnn.layers.norm import Normalization
from minibnn.layers.weighted import Weighted
from minibnn.packed.compile.exact import Line
from minibnn.packed.errors import PackError
from minibnn.packed.stages import HostArray, Product, ScoreStage, Shape, Stage, ThresholdStage

BLOCK = 2**20  # accumulators that go through the float layers at once


@dataclass(frozen=True, eq=False)
class Fold:
    """What a model does between a product's accumulators and the next sign, or the logits.

    Attributes:
        where: the layers, for messages.
        product: the stage that makes the accumulators.
        layer: the layer it comes from, for its bias.
        unit: what one unit of an accumulator is worth, for each channel.
        zero: what an accumulator of 0 is worth, for each channel, before the bias.
        norm: the batch norm after it, or None.
        activation: the sign after that; None for the logits.
    """

    where: str
    product: Product
    layer: Weighted
    unit: tuple[Fraction, ...]
    zero: tuple[Fraction, ...]
    norm: Normalization | None = None
    activation: Activation | None = None

    @property
    def enumerable(self) -> bool:
        """Whether the float model meets the accumulators themselves, so that it can be asked.

        It does where +1 and -1 meet +1 and -1: sums of them are whole numbers, exact in float32
        in any order. Sums of rescaled pixels, or of +a and -a, are rounded in an order that is the
        BLAS's own business; for these the thresholds follow from exact arithmetic.
        """
        exact = self.product.width < 2 ** np.finfo(self.layer.dtype).nmant
        plain = all(u == 1 for u in self.unit) and not any(self.zero)
        return not self.product.pixels and plain and exact

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The real arithmetic of each channel."""
        gain, mean, variance, beta = self._norm_numbers()
        bias = _fractions(self.layer.bias, self.product.channels, self.where)
        numbers = zip(self.unit, self.zero, bias, gain, mean, variance, beta, strict=True)
        return tuple(
            # Without a root, the shift is one summand more.
            Line(g * u, g * (z + b - m) + h * (v == 1), v, h * (v != 1))
            for u, z, b, g, m, v, h in numbers
        )

    def _norm_numbers(self) -> tuple[list[Fraction], ...]:
        """Gain, mean, variance and shift of each channel."""
        n = self.product.channels
        norm = self.norm
        if norm is None:
            return [Fraction(1)] * n, [Fraction(0)] * n, [Fraction(1)] * n, [Fraction(0)] * n
        read = [
            _fractions(getattr(norm, name), n, self.where)
            for name in ("gamma", "running_mean", "running_var", "beta")
        ]
        gain, mean, variance, beta = read
        if norm.gamma is None:  # type: ignore[attr-defined]
            gain = [Fraction(1)] * n
        variance = [v + Fraction(norm.epsilon) for v in variance]
        if min(variance) <= 0:
            raise PackError(f"{self.where}: expected positive variances, got {norm!r} without")
        if isinstance(norm, ShiftBatchNorm):
            # Its factors are powers of two, of values rounded by the layer itself: take its own.
            r = norm.ap2.forward(1 / np.sqrt(norm.running_var.data + norm.epsilon))
            powers = zip(norm.ap2.forward(norm.gamma.data), r, strict=True)
            gain = [Fraction(float(g)) * Fraction(float(s)) for g, s in powers]
            variance = [Fraction(1)] * n
        return gain, mean, variance, beta

    # --- thresholds ---------------------------------------------------------------------------

    def thresholds(self) -> tuple[HostArray, HostArray]:
        """The threshold and the direction of each channel.

        Raises:
            PackError: where the float layers are not monotone, or give nan.
        """
        return self._enumerated() if self.enumerable else self._exact()

    def stage(self, shape: tuple[int, ...]) -> ThresholdStage:
        """The thresholds as a stage on samples of this shape."""
        thresholds, falling = self.thresholds()
        return ThresholdStage(shape, shape, thresholds.astype(np.int32), falling)

    def fits(self, stage: Stage, shape: Shape) -> bool:
        """Whether a stage could be this fold's, on samples of this shape."""
        kind = ScoreStage if self.activation is None else ThresholdStage
        sizes = {array.shape for array in stage.arrays().values()}
        right = type(stage) is kind and stage.in_shape == stage.out_shape == shape
        return right and sizes == {(self.product.channels,)}

    def bits(self, acc: HostArray) -> HostArray:
        """What the float layers make of rows of accumulators (n, channels): the model's own bits.

        The layers' own objects compute it, in their dtype: ``z += b``, batch norm, the sign.
        """
        z = acc.astype(self.layer.dtype)
        with np.errstate(all="ignore"):  # an overflow to infinity still has a sign
            if self.layer.bias is not None:
                z += self.layer.bias.data
            if self.norm is not None:
                z = self.norm.forward(z)
            if self.activation is not None:
                z = self.activation.forward(z)
        if not bool((abs(z) == 1).all()):
            raise PackError(f"{self.where}: expected +1 and -1 after the sign, got nan or others")
        return z > 0

    def _chunks(self) -> Iterator[tuple[int, HostArray]]:
        """All accumulators that can be, with the index of the first, and the bits of all channels.

        Sums of K values +1 and -1 are -K, -K + 2, ..., K.
        """
        K, n = self.product.width, self.product.channels
        rows = max(1, BLOCK // n)
        for start in range(0, K + 1, rows):
            values = 2 * np.arange(start, min(start + rows, K + 1)) - K
            yield start, self.bits(np.repeat(values[:, None], n, axis=1))

    def _enumerated(self) -> tuple[HostArray, HostArray]:
        """From the float layers' own bits for every accumulator.

        Rounding is monotone, so each channel's bits change once at most.
        """
        K, n = self.product.width, self.product.channels
        count, first, last = np.zeros(n, np.int64), np.full(n, K + 1), np.full(n, -1)
        for start, bits in self._chunks():
            some, length = bits.any(axis=0), len(bits)
            count += bits.sum(axis=0)
            first = np.where(some, np.minimum(first, start + bits.argmax(axis=0)), first)
            last = np.where(some, start + length - 1 - bits[::-1].argmax(axis=0), last)
        rising = (last == K) & (first == K + 1 - count)
        falling = (first == 0) & (last == count - 1) & (count <= K)
        never = count == 0
        if not (rising | falling | never).all():
            channel = int(np.argmin(rising | falling | never))
            raise PackError(f"{self.where}: expected a monotone channel, got {channel} with jumps")
        t = np.where(falling, 2 * last - K, 2 * first - K)
        t = np.where(count == K + 1, -K - 1, np.where(never, K + 1, t))
        return t, falling & ~never

    def _exact(self) -> tuple[HostArray, HostArray]:
        """By bisection on the sign of the exact value, which is monotone in the accumulator."""
        low, high = self.product.reach()
        t, falling = np.zeros(len(low), np.int64), np.zeros(len(low), bool)
        for c, line in enumerate(self.lines):
            a, b, step = int(low[c]), int(high[c]), self.product.step
            at_low, at_high = line.sign(a) >= 0, line.sign(b) >= 0
            if at_low == at_high:  # a line between two points of one side stays there
                t[c] = a - 1 if at_low else b + 1
                continue
            while b - a > step:
                middle = a + (b - a) // (2 * step) * step
                a, b = (middle, b) if (line.sign(middle) >= 0) == at_low else (a, middle)
            t[c], falling[c] = (a, True) if at_low else (b, False)
        return t, falling

    # --- the certificate ----------------------------------------------------------------------

    def certify(self, stage: ThresholdStage) -> dict[str, Any]:
        """Compare a stage's bits with the model's, and say how much was compared.

        Enumerated: for every channel and every accumulator that can be, with the float layers.
        Exact: for every channel at both ends of the reach and on both sides of the threshold,
        with exact arithmetic. In between nothing is left to check: the exact value is a line in
        the accumulator, and the stage's bit is monotone too, so where both agree at the ends of an
        interval and do not change inside, they agree inside.

        Raises:
            PackError: for a bit that differs.
        """
        channels, compared = self.product.channels, 0
        if self.enumerable:
            K = self.product.width
            flat = replace(stage, in_shape=(channels,), out_shape=(channels,))
            for start, bits in self._chunks():
                values = 2 * np.arange(start, start + len(bits)) - K
                own = flat.run(np.repeat(values[:, None], channels, axis=1).astype(np.int32))
                self._require((own == bits).all(axis=0))
                compared += bits.size
        else:
            agree = np.ones(channels, bool)
            for c, accs in enumerate(points(self.product, stage)):
                t, falling = int(stage.thresholds[c]), bool(stage.falling[c])
                for acc in accs:
                    agree[c] &= (self.lines[c].sign(acc) >= 0) == (
                        acc <= t if falling else acc >= t
                    )
                    compared += 1
            self._require(agree)
        return {
            "by": "enumeration" if self.enumerable else "exact",
            "channels": channels,
            "values": compared,
            "sha256": digest(stage),
        }

    def _require(self, agree: HostArray) -> None:
        if not agree.all():
            raise PackError(
                f"{self.where}: expected the model's bits from every threshold, got others in "
                f"channel {int(np.argmin(agree))}; pack the model again"
            )


def points(product: Product, stage: ThresholdStage) -> Iterator[list[int]]:
    """The accumulators of each channel where an exact check decides."""
    reach = (bound.tolist() for bound in product.reach())
    for c, (a, b) in enumerate(zip(*reach, strict=True)):
        # The last accumulator on the threshold's lower side, and the next one.
        t = int(stage.thresholds[c])
        below = t if stage.falling[c] else t - 1
        k = (below - a) // product.step
        near = [a + k * product.step, a + (k + 1) * product.step]
        yield sorted({a, b, *(v for v in near if a <= v <= b)})


def certificates(product: Product, stage: ThresholdStage) -> list[dict[str, Any]]:
    """All that `Fold.certify` could say of a stage behind this product: what a file may say."""
    n = product.channels
    counts = {"exact": sum(map(len, points(product, stage)))}
    if not product.pixels:
        counts["enumeration"] = n * (product.width + 1)
    sha256 = digest(stage)
    return [
        {"by": by, "channels": n, "values": values, "sha256": sha256}
        for by, values in counts.items()
    ]


def digest(stage: ThresholdStage) -> str:
    """Of a stage's thresholds (int32, little-endian) followed by its directions (a byte each)."""
    data = stage.thresholds.astype("<i4").tobytes() + stage.falling.astype(np.uint8).tobytes()
    return hashlib.sha256(data).hexdigest()


def _fractions(array: Any, n: int, where: str) -> list[Fraction]:
    """A parameter or buffer of one value, or of one a channel, as exact numbers; zeros for None."""
    if array is None:
        return [Fraction(0)] * n
    values = np.asarray(array.data)
    if not np.isfinite(values).all():
        raise PackError(f"{where}: expected finite numbers, got {array.name} with nan or infinity")
    numbers = [Fraction(float(v)) for v in values.reshape(-1)]
    return numbers * n if len(numbers) == 1 else numbers
