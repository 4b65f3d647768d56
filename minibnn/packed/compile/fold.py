"""Fold bias, batch norm and sign into an integer threshold for each channel, and certify it."""

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

BLOCK = 2**20  # accumulators in one pass through the float layers


@dataclass(frozen=True, eq=False)
class Fold:
    """The layers between a product's accumulators and the next sign, or the logits.

    An accumulator is one integer sum of the product.

    Attributes:
        where: the layers, for messages.
        product: the stage that makes the accumulators.
        layer: the product's layer, for its bias.
        unit: the value of one unit of an accumulator, for each channel.
        zero: the value of an accumulator of 0 before the bias, for each channel.
        norm: the batch norm, or None.
        activation: the sign, or None for the logits.
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
        """Whether the float layers can be evaluated at every accumulator.

        They can if weights and inputs are +1 and -1: the sums are integers, exact in float32 in any
        order. Sums of rescaled pixels, or with weights of +a and -a, are rounded in an order that
        depends on the BLAS, so their thresholds come from exact arithmetic.
        """
        exact = self.product.width < 2 ** np.finfo(self.layer.dtype).nmant
        plain = all(u == 1 for u in self.unit) and not any(self.zero)
        return not self.product.pixels and plain and exact

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The exact value of each channel, as a function of its accumulator."""
        gain, mean, variance, beta = self._norm_numbers()
        bias = _fractions(self.layer.bias, self.product.channels, self.where)
        numbers = zip(self.unit, self.zero, bias, gain, mean, variance, beta, strict=True)
        return tuple(
            # Without a root, the shift is added to the start.
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
            # Its factors are powers of two of rounded values: use the layer's own.
            r = norm.ap2.forward(1 / np.sqrt(norm.running_var.data + norm.epsilon))
            powers = zip(norm.ap2.forward(norm.gamma.data), r, strict=True)
            gain = [Fraction(float(g)) * Fraction(float(s)) for g, s in powers]
            variance = [Fraction(1)] * n
        return gain, mean, variance, beta

    # --- thresholds ---------------------------------------------------------------------------

    def thresholds(self) -> tuple[HostArray, HostArray]:
        """The threshold and the direction of each channel.

        Raises:
            PackError: if the float layers are not monotone, or give nan.
        """
        return self._enumerated() if self.enumerable else self.exact_thresholds()

    def stage(self, shape: tuple[int, ...]) -> ThresholdStage:
        """The thresholds as a stage on samples of this shape."""
        thresholds, falling = self.thresholds()
        return ThresholdStage(shape, shape, thresholds.astype(np.int32), falling)

    def fits(self, stage: Stage, shape: Shape) -> bool:
        """Whether a stage has the kind and sizes of this fold's, on samples of this shape."""
        kind = ScoreStage if self.activation is None else ThresholdStage
        sizes = {array.shape for array in stage.arrays().values()}
        right = type(stage) is kind and stage.in_shape == stage.out_shape == shape
        return right and sizes == {(self.product.channels,)}

    def bits(self, acc: HostArray) -> HostArray:
        """The model's own bits for rows of accumulators (n, channels).

        The model's layers compute them, in their dtype: ``z += b``, batch norm, the sign.
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
        """Bits of all channels for all possible accumulators, in blocks with their first index.

        Sums of K values +1 and -1 are -K, -K + 2, ..., K.
        """
        K, n = self.product.width, self.product.channels
        rows = max(1, BLOCK // n)
        for start in range(0, K + 1, rows):
            values = 2 * np.arange(start, min(start + rows, K + 1)) - K
            yield start, self.bits(np.repeat(values[:, None], n, axis=1))

    def _enumerated(self) -> tuple[HostArray, HostArray]:
        """Thresholds from the float layers' bits for every accumulator.

        Rounding is monotone, so the bits of a channel change at most once.
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

    def exact_thresholds(self) -> tuple[HostArray, HostArray]:
        """Thresholds by bisection on the sign of the exact value, which is monotone."""
        low, high = self.product.reach()
        t, falling = np.zeros(len(low), np.int64), np.zeros(len(low), bool)
        for c, line in enumerate(self.lines):
            a, b, step = int(low[c]), int(high[c]), self.product.step
            at_low, at_high = line.sign(a) >= 0, line.sign(b) >= 0
            if at_low == at_high:  # a line has the same sign between two points of equal sign
                t[c] = a - 1 if at_low else b + 1
                continue
            while b - a > step:
                middle = a + (b - a) // (2 * step) * step
                a, b = (middle, b) if (line.sign(middle) >= 0) == at_low else (a, middle)
            t[c], falling[c] = (a, True) if at_low else (b, False)
        return t, falling

    # --- the certificate ----------------------------------------------------------------------

    def certify(self, stage: ThresholdStage) -> dict[str, Any]:
        """Compare a stage's bits with the model's, and return what was compared.

        If the fold is `enumerable`, the float layers compute the bits of every channel for every
        possible accumulator. Otherwise exact arithmetic computes the bits of every channel for up
        to four accumulators: the smallest and the largest possible one, and those next to the
        threshold on both sides. These are enough: as the accumulator grows, both bits change at
        most once. If they agree at the ends of an interval and do not change within it, they agree
        within it.

        Raises:
            PackError: if a bit differs.
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
    """The accumulators of each channel that an exact check compares."""
    reach = (bound.tolist() for bound in product.reach())
    for c, (a, b) in enumerate(zip(*reach, strict=True)):
        # The last accumulator below the change of the bit, and the next one.
        t = int(stage.thresholds[c])
        below = t if stage.falling[c] else t - 1
        k = (below - a) // product.step
        near = [a + k * product.step, a + (k + 1) * product.step]
        yield sorted({a, b, *(v for v in near if a <= v <= b)})


def certificates(product: Product, stage: ThresholdStage) -> list[dict[str, Any]]:
    """All results that `Fold.certify` may have for a stage after this product."""
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
    """The sha256 of the thresholds (int32, little-endian) and then the directions (a byte each)."""
    data = stage.thresholds.astype("<i4").tobytes() + stage.falling.astype(np.uint8).tobytes()
    return hashlib.sha256(data).hexdigest()


def _fractions(array: Any, n: int, where: str) -> list[Fraction]:
    """A parameter or buffer of one value, or one for each channel, exact; None gives zeros."""
    if array is None:
        return [Fraction(0)] * n
    values = np.asarray(array.data)
    if not np.isfinite(values).all():
        raise PackError(f"{where}: expected finite numbers, got {array.name} with nan or infinity")
    numbers = [Fraction(float(v)) for v in values.reshape(-1)]
    return numbers * n if len(numbers) == 1 else numbers
