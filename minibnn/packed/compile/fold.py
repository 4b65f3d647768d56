"""Fold bias, batch norm and sign into integer thresholds for each channel, and certify them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from minibnn.functions import DoReFaActivations, Heaviside
from minibnn.layers import Activation, ShiftBatchNorm
from minibnn.layers.norm import Normalization
from minibnn.layers.weighted import Weighted
from minibnn.packed.compile.exact import Line, inverse_root
from minibnn.packed.errors import PackError
from minibnn.packed.integer_stages import LevelStage
from minibnn.packed.stages import HostArray, Product, ScoreStage, Shape, Stage, ThresholdStage

BLOCK = 2**20  # accumulators in one pass through the float layers


class Integers(NamedTuple):
    """Integers that no `Product` made, in the place of its sums.

    Attributes:
        low: the least of each channel.
        high: the greatest.
    """

    low: HostArray
    high: HostArray

    @property
    def channels(self) -> int:
        """How many channels they have."""
        return len(self.low)

    @property
    def step(self) -> int:
        """The gap between neighbours: any integer may occur."""
        return 1

    def reach(self) -> tuple[HostArray, HostArray]:
        """The least and the greatest of each channel."""
        return self.low, self.high


@dataclass(frozen=True, eq=False)
class Fold:
    """The layers between accumulators and the next sign, or the logits.

    An accumulator is one integer sum of a product, or what else is an integer.

    Attributes:
        where: the layers, for messages.
        product: the stage that makes the accumulators, or the range of other integers.
        layer: the product's layer, for its bias; None for other integers.
        unit: the value of one unit of an accumulator, for each channel.
        zero: the value of an accumulator of 0 before the bias, for each channel.
        norm: the batch norm, or None.
        activation: the sign or the levels, or None for the logits.
        sources: of the stage that it becomes.
        rounded: whether something before it, apart from signs and levels, was rounded.
    """

    where: str
    product: Product | Integers
    layer: Weighted | None
    unit: tuple[Fraction, ...]
    zero: tuple[Fraction, ...]
    norm: Normalization | None = None
    activation: Activation | None = None
    sources: tuple[int, ...] = ()
    rounded: bool = False

    @property
    def enumerable(self) -> bool:
        """Whether the float layers can be evaluated at every accumulator.

        They can if weights and inputs are +1 and -1: the sums are integers, exact in float32 in any
        order. Sums of rescaled pixels, or with weights of +a and -a, are rounded in an order that
        depends on the BLAS, so their thresholds come from exact arithmetic.
        """
        product = self.product
        if self.layer is None or not isinstance(product, Product) or product.pixels:
            return False
        if self.gives_levels:
            return False
        exact = product.width < 2 ** np.finfo(self.layer.dtype).nmant
        return exact and all(u == 1 for u in self.unit) and not any(self.zero)

    @property
    def gives_levels(self) -> bool:
        """Whether its activation's values are 0, 1, ... times a step, and not -1 and +1."""
        return gives_levels(self.activation)

    @cached_property
    def changes(self) -> list[tuple[Fraction, bool]]:
        """Where the value of the activation changes; see `changes_of`."""
        return changes_of(self.activation)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The exact value of each channel, as a function of its accumulator."""
        gain, mean, variance, beta = self._norm_numbers()
        bias = _fractions(self._bias, self.product.channels, self.where)
        numbers = zip(self.unit, self.zero, bias, gain, mean, variance, beta, strict=True)
        return tuple(
            # Without a root, the shift is added to the start.
            Line(g * u, g * (z + b - m) + h * (v == 1), v, h * (v != 1))
            for u, z, b, g, m, v, h in numbers
        )

    @cached_property
    def coefficients(self) -> list[tuple[Fraction, Fraction]]:
        """Slope and offset of each line, to `exact.PRECISION` bits."""
        return [line.coefficients() for line in self.lines]

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

    def float_errors(self, largest: HostArray) -> HostArray:
        """What the float layers round, as a bound for each channel.

        Batch norm takes about ten operations, each of which rounds a value that is no larger than
        the sum of its terms' sizes.

        Args:
            largest: the largest size of an accumulator of each channel.
        """
        gain, mean, variance, beta = self._norm_numbers()
        bias = _fractions(self._bias, self.product.channels, self.where)
        slopes = np.array(
            [float(abs(g) * inverse_root(v)) for g, v in zip(gain, variance, strict=True)]
        )
        before = np.array([
            float(abs(u)) * n + float(abs(z) + abs(b) + abs(m))
            for m, u, z, b, n in zip(mean, self.unit, self.zero, bias, largest, strict=True)
        ])  # fmt: skip
        after = slopes * before + np.array([float(abs(h)) for h in beta])
        # What the slope takes, and the slope itself, may be subnormal or overflow, too.
        lost = 10 * float(np.finfo(self._dtype).smallest_subnormal) * (slopes + before)
        beyond = np.isinf(rounding(np.maximum(slopes, before), 1, self._dtype))
        return np.where(beyond, np.inf, lost + rounding(after, 10, self._dtype))

    # --- thresholds ---------------------------------------------------------------------------

    def thresholds(self) -> tuple[HostArray, HostArray]:
        """The threshold and the direction of each channel.

        Raises:
            PackError: if the float layers are not monotone, or give nan.
        """
        return self._enumerated() if self.enumerable else self.exact_thresholds()

    def stage(self, shape: tuple[int, ...]) -> ThresholdStage | LevelStage:
        """The thresholds as a stage on samples of this shape."""
        if self.gives_levels:
            t, falling = self.exact_levels()
            return LevelStage(shape, shape, t.astype(np.int32), falling, sources=self.sources)
        thresholds, falling = self.thresholds()
        t = thresholds.astype(np.int32)
        return ThresholdStage(shape, shape, t, falling, sources=self.sources)

    def fits(self, stage: Stage, shape: Shape) -> bool:
        """Whether a stage has the kind and sizes of this fold's, on samples of this shape."""
        kind: type[Stage] = ScoreStage
        sizes: set[Shape] = {(self.product.channels,)}
        if self.gives_levels:
            kind = LevelStage
            sizes.add((self.product.channels, len(self.changes)))
        elif self.activation is not None:
            kind = ThresholdStage
        right = type(stage) is kind and stage.in_shape == stage.out_shape == shape
        found = {array.shape for array in stage.arrays().values()}
        return right and stage.sources == self.sources and found == sizes

    @property
    def _bias(self) -> Any:
        return None if self.layer is None else self.layer.bias

    @property
    def _dtype(self) -> np.dtype[Any]:
        """Of the layers."""
        layer = self.layer if self.layer is not None else self.norm
        return np.dtype(np.float32 if layer is None else layer.dtype)

    @property
    def _most(self) -> int:
        """The greatest accumulator, which is the width of a product of bits."""
        return int(self.product.reach()[1].max())

    def bits(self, acc: HostArray) -> HostArray:
        """The model's own bits for rows of accumulators (n, channels).

        The model's layers compute them, in their dtype: ``z += b``, batch norm, the sign.
        """
        z = acc.astype(self._dtype)
        with np.errstate(all="ignore"):  # an overflow to infinity still has a sign
            if self._bias is not None:
                z += self._bias.data
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
        K, n = self._most, self.product.channels
        rows = max(1, BLOCK // n)
        for start in range(0, K + 1, rows):
            values = 2 * np.arange(start, min(start + rows, K + 1)) - K
            yield start, self.bits(np.repeat(values[:, None], n, axis=1))

    def _enumerated(self) -> tuple[HostArray, HostArray]:
        """Thresholds from the float layers' bits for every accumulator.

        Rounding is monotone, so the bits of a channel change at most once.
        """
        K, n = self._most, self.product.channels
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
        t, falling = self.exact_levels()
        return t[:, 0], falling

    def exact_levels(self) -> tuple[HostArray, HostArray]:
        """The thresholds (channels, L) of every change, and the directions (channels,)."""
        n, L = self.product.channels, len(self.changes)
        low, high = (end.tolist() for end in self.product.reach())
        t, falling = np.zeros((n, L), np.int64), np.zeros(n, bool)
        for c in range(n):
            a, b, step = low[c], high[c], self.product.step
            falls = falling[c] = self.value(c, a) > self.value(c, b)
            for j in range(L):
                t[c, j] = self._turn(c, j, a, b, step, falls)
        return t, falling

    def _turn(self, c: int, j: int, a: int, b: int, step: int, falls: bool) -> int:
        """The threshold of change j in channel c, whose accumulators go from a to b."""
        at_low, at_high = self.passes(c, j, a), self.passes(c, j, b)
        if at_low == at_high:  # a line is on the same side between two points of one side
            return a - 1 if at_low != falls else b + 1
        while b - a > step:
            middle = a + (b - a) // (2 * step) * step
            a, b = (middle, b) if self.passes(c, j, middle) == at_low else (a, middle)
        return a if at_low else b

    def passes(self, c: int, j: int, acc: int) -> bool:
        """Whether the exact value of channel c has passed change j."""
        at, strict = self.changes[j]
        line = self.lines[c]
        if at:
            line = line.less(at)
        sign = line.sign(acc)
        return sign > 0 if strict else sign >= 0

    def value(self, c: int, acc: int) -> int:
        """The exact bit or level of channel c."""
        return sum(self.passes(c, j, acc) for j in range(len(self.changes)))

    # --- the certificate ----------------------------------------------------------------------

    def certify(self, stage: ThresholdStage | LevelStage) -> dict[str, Any]:
        """Compare a stage's bits with the model's, and return what was compared.

        If the fold is `enumerable`, the float layers compute the bits of every channel for every
        possible accumulator. Otherwise exact arithmetic computes the bits of every channel for up
        to four accumulators: the smallest and the largest possible one, and those next to the
        threshold on both sides. These are enough: as the accumulator grows, both bits change at
        most once. If they agree at the ends of an interval and do not change within it, they agree
        within it. Levels have several thresholds, each of which is compared like that.

        Raises:
            PackError: if a bit differs.
        """
        channels, compared = self.product.channels, 0
        if self.enumerable:
            K = self._most
            flat = replace(stage, in_shape=(channels,), out_shape=(channels,))
            for start, bits in self._chunks():
                values = 2 * np.arange(start, start + len(bits)) - K
                own = flat.run(np.repeat(values[:, None], channels, axis=1).astype(np.int32))
                self._require((own == bits).all(axis=0))
                compared += bits.size
        else:
            agree = np.ones(channels, bool)
            for c, j, accs in points(self.product, stage):
                t, falling = _threshold(stage, c, j), bool(stage.falling[c])
                for acc in accs:
                    agree[c] &= self.passes(c, j, acc) == (acc <= t if falling else acc >= t)
                    compared += 1
            self._require(agree)
        return {
            "by": "enumeration" if self.enumerable else "rounded" if self.rounded else "exact",
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


def rounding(sizes: HostArray, terms: int, dtype: np.dtype[Any]) -> HostArray:
    """What floats round in a sum, in any order; infinite where they may overflow.

    Args:
        sizes: of the terms, added.
        terms: how many there are, and two for a product; with that, twice what can occur.
        dtype: of the floats.

    References: Higham 2002, Accuracy and Stability of Numerical Algorithms, equations 2.8 and 3.3.
    """
    info = np.finfo(dtype)
    lost = terms * (float(info.eps) * sizes + float(info.smallest_subnormal))
    return np.where(sizes > float(info.max) / 2, np.inf, lost)


def changes_of(activation: Activation | None) -> list[tuple[Fraction, bool]]:
    """Where the activation's value changes, rising; and whether only beyond that place.

    A sign changes at 0, which has the sign +1. `DoReFaActivations` rounds n x to the even of two
    neighbours: level j begins at (j - 1/2) / n, and includes that place if j is even.
    """
    function = activation and activation.function
    if isinstance(function, DoReFaActivations):
        n = 2**function.bits - 1
        return [(Fraction(2 * j - 1, 2 * n), j % 2 == 1) for j in range(1, n + 1)]
    return [(Fraction(0), isinstance(function, Heaviside))]


def gives_levels(activation: Activation | None) -> bool:
    """Whether the activation's values are 0, 1, ... times a step, and not -1 and +1."""
    return activation is not None and isinstance(activation.function, DoReFaActivations | Heaviside)


def _threshold(stage: ThresholdStage | LevelStage, c: int, j: int) -> int:
    return int(stage.thresholds[c] if isinstance(stage, ThresholdStage) else stage.thresholds[c, j])


def points(
    product: Product | Integers, stage: ThresholdStage | LevelStage
) -> Iterator[tuple[int, int, list[int]]]:
    """Each channel and threshold, and the accumulators that an exact check compares."""
    levels = 1 if isinstance(stage, ThresholdStage) else stage.thresholds.shape[1]
    reach = (bound.tolist() for bound in product.reach())
    for c, (a, b) in enumerate(zip(*reach, strict=True)):
        for j in range(levels):
            # The last accumulator below the change of the bit, and the next one.
            t = _threshold(stage, c, j)
            below = t if stage.falling[c] else t - 1
            k = (below - a) // product.step
            near = [a + k * product.step, a + (k + 1) * product.step]
            yield c, j, sorted({a, b, *(v for v in near if a <= v <= b)})


def certificates(
    product: Product | Integers, stage: ThresholdStage | LevelStage
) -> list[dict[str, Any]]:
    """All results that `Fold.certify` may have for a stage after this product."""
    n = product.channels
    exact = sum(len(accs) for _, _, accs in points(product, stage))
    counts = {"exact": exact, "rounded": exact}
    if isinstance(product, Product):
        del counts["rounded"]
        if not product.pixels:
            counts["enumeration"] = n * (product.width + 1)
    sha256 = digest(stage)
    return [
        {"by": by, "channels": n, "values": values, "sha256": sha256}
        for by, values in counts.items()
    ]


def digest(stage: ThresholdStage | LevelStage) -> str:
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
