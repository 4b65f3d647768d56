"""Stages on integers of more than one bit.

The values between stages are of a fifth kind, besides those in `stages`:

.. code-block:: text

    numbers  int16, each standing for itself times a unit that all numbers of one output share

`IntegerDense` and `IntegerConv` take pixels, bits (as +1 and -1) or numbers. `LevelStage` gives
whole numbers from 0 on, `ScaleStage` fixed-point numbers. Several values meet in `AddStage` and
`ConcatStage`, whose `sources` say which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.packed.inference import integer_products
from minibnn.packed.stages import HostArray, Stage, window_rows
from minibnn.windows import Windows

NUMBERS = np.int16  # the dtype of numbers
LEAST, MOST = -(2**15), 2**15 - 1


def as_numbers(x: Array, takes: str) -> Array:
    """Bits as +1 and -1, other values as they are."""
    return x.astype(np.int8) * np.int8(2) - np.int8(1) if takes == "bits" else x


@dataclass(frozen=True, eq=False)
class IntegerProduct(Stage):
    """Rows of integer weights times integers: ``acc[c] = sum over i of w[c, i] x[i]``.

    `Product` is the special case of weights of +1 and -1, for bits without a border of 0 and for
    pixels. Every sum, and every partial sum in any order, is below 2^31.

    Attributes:
        weights: (channels, width) of int8, from -127 to 127.
        takes: pixels, bits (which count as +1 and -1) or numbers.
    """

    weights: HostArray
    takes: str

    @property
    def largest(self) -> int:
        """The largest size of a value that it takes."""
        sizes: dict[str, int] = {"bits": 1, "pixels": 255, "numbers": MOST + 1}
        return sizes[self.takes]

    @property
    def channels(self) -> int:
        """How many rows of weights there are."""
        return len(self.weights)

    @property
    def width(self) -> int:
        """How many values a sum has."""
        width: int = self.weights.shape[1]
        return width

    def arrays(self) -> dict[str, HostArray]:
        """The weights."""
        return {"weights": self.weights}


@dataclass(frozen=True, eq=False)
class IntegerDense(IntegerProduct):
    """`IntegerProduct` of a whole sample."""

    kind = "integer_dense"

    def run(self, x: Array, *others: Array) -> Array:
        """The accumulators (batch, channels) of int32."""
        backend = backend_of(x)
        rows = as_numbers(x.reshape(len(x), self.width), self.takes)
        return backend.run(integer_products, rows, self.on(backend, "weights"), self.largest)


@dataclass(frozen=True, eq=False)
class IntegerConv(IntegerProduct):
    """`IntegerProduct` of each window of an image.

    The input's channels are divided into `groups` of neighbours, and so are the output's. A row of
    weights takes the channels of its group, in the order (row, column, channel).

    Attributes:
        size: rows and columns of a window.
        stride: from one window to the next.
        dilation: from one position in a window to the next.
        border: rows and columns of padding ((above, below), (left, right)).
        border_value: of the padding: a pixel; -1, 0 or +1 for bits; or a number.
        groups: how many there are.
    """

    kind = "integer_conv"
    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    border: tuple[tuple[int, int], tuple[int, int]]
    border_value: int
    groups: int

    def run(self, x: Array, *others: Array) -> Array:
        """The accumulators (batch, rows, columns, channels) of int32."""
        backend, n = backend_of(x), len(x)
        height, width, channels = self.in_shape
        (above, below), (left, right) = self.border
        shape = (n, above + height + below, left + width + right, channels)
        X = backend.xp.full(shape, self.border_value, dtype=NUMBERS)
        X[:, above : above + height, left : left + width] = as_numbers(
            x.reshape(n, *self.in_shape), self.takes
        )
        weights = self.on(backend, "weights")
        windows = Windows(self.size, self.stride, self.dilation)
        result = backend.xp.empty((n, *self.out_shape), dtype=np.int32)
        taken, given = channels // self.groups, self.channels // self.groups
        for g in range(self.groups):
            into = slice(g * given, (g + 1) * given)
            rows = backend.run(window_rows, X[..., g * taken : (g + 1) * taken], windows)
            sums = backend.run(integer_products, rows, weights[into], self.largest)
            result[..., into] = sums.reshape(n, *self.out_shape[:2], given)
        return result


@dataclass(frozen=True, eq=False)
class SumPoolStage(Stage):
    """The sum of each window and channel; a mean is that, and a `ScaleStage`.

    Attributes:
        takes: bits (which count as +1 and -1) or numbers.
        size: rows and columns of a window.
        stride: from one window to the next.
    """

    kind = "sum_pool"
    takes: str
    size: tuple[int, int]
    stride: tuple[int, int]

    def run(self, x: Array, *others: Array) -> Array:
        """The sums (batch, rows, columns, channels) of int32."""
        xp = backend_of(x).xp
        images = as_numbers(x.reshape(len(x), *self.in_shape), self.takes)
        windows = Windows(self.size, self.stride)
        counts = windows.counts(images.shape)
        sums = xp.zeros((len(x), *counts, images.shape[-1]), dtype=np.int32)
        for _, _, rows, columns in windows.positions(counts):
            sums += images[:, rows, columns]
        return sums


@dataclass(frozen=True, eq=False)
class LevelStage(Stage):
    """Turns accumulators into numbers from 0 to L; each channel has its own L thresholds.

    .. equations::

        y = how many j there are with acc >= thresholds[c, j]
            or, where falling[c],     acc <= thresholds[c, j]

    Attributes:
        thresholds: (channels, L) of int32.
        falling: (channels,) of bool.
    """

    kind = "levels"
    thresholds: HostArray
    falling: HostArray

    def arrays(self) -> dict[str, HostArray]:
        """The thresholds and the directions."""
        return {"thresholds": self.thresholds, "falling": self.falling}

    def run(self, x: Array, *others: Array) -> Array:
        """The numbers, as int16."""
        backend = backend_of(x)
        acc = x.reshape(-1, len(self.thresholds))
        thresholds, falling = self.on(backend, "thresholds"), self.on(backend, "falling")
        y = backend.xp.zeros(acc.shape, NUMBERS)
        for j in range(thresholds.shape[1]):
            t = thresholds[:, j]
            y += backend.xp.where(falling, acc <= t, acc >= t)
        return y.reshape(len(x), *self.out_shape)


@dataclass(frozen=True, eq=False)
class ScaleStage(Stage):
    """Integers of another unit: ``y = floor((A[c] v + B[c]) / 2^shift)``.

    Attributes:
        takes: what v is: acc, numbers, pixels, or bits (which count as +1 and -1).
        A: (channels,) of int64, below 2^31 in size.
        B: (channels,) of int64. ``A v + B`` is below 2^52 in size, so that JavaScript's numbers
            hold it.
        shift: from 0 to 48.
    """

    kind = "scale"
    takes: str
    A: HostArray
    B: HostArray
    shift: int

    def arrays(self) -> dict[str, HostArray]:
        """The factors and the summands."""
        return {"A": self.A, "B": self.B}

    def run(self, x: Array, *others: Array) -> Array:
        """The numbers, as int16."""
        backend = backend_of(x)
        v = as_numbers(x, self.takes).reshape(-1, len(self.A)).astype(np.int64)
        y = (v * self.on(backend, "A") + self.on(backend, "B")) >> self.shift
        return y.astype(NUMBERS).reshape(len(x), *self.out_shape)


@dataclass(frozen=True, eq=False)
class SlopeStage(Stage):
    """A rectifier with a slope.

    .. equations::

        y = v where v > 0, else floor((A[c] v + 2^shift / 2) / 2^shift)

    Attributes:
        A: (channels,) of int64, below 2^31 in size.
        shift: from 1 to 30.
    """

    kind = "slope"
    A: HostArray
    shift: int

    def arrays(self) -> dict[str, HostArray]:
        """The slopes, times 2^shift."""
        return {"A": self.A}

    def run(self, x: Array, *others: Array) -> Array:
        """The numbers, as int16."""
        backend = backend_of(x)
        v = x.reshape(-1, len(self.A)).astype(np.int64)
        below = (v * self.on(backend, "A") + 2 ** (self.shift - 1)) >> self.shift
        y = backend.xp.where(v > 0, v, below)
        return y.astype(NUMBERS).reshape(len(x), *self.out_shape)


@dataclass(frozen=True, eq=False)
class AddStage(Stage):
    """The sum of the numbers of several sources, which have one unit."""

    kind = "add"

    def run(self, x: Array, *others: Array) -> Array:
        """The sums, as int16."""
        y = x.reshape(len(x), *self.out_shape)
        for other in others:
            y = y + other.reshape(y.shape)
        return y


@dataclass(frozen=True, eq=False)
class ConcatStage(Stage):
    """The values of several sources of one kind, side by side along the last axis.

    Attributes:
        parts: the number of channels of each source.
    """

    kind = "concat"
    parts: tuple[int, ...]

    def run(self, x: Array, *others: Array) -> Array:
        """The values, of the sources' dtype."""
        shape = (len(x), *self.out_shape[:-1])
        values = [v.reshape(*shape, n) for v, n in zip((x, *others), self.parts, strict=True)]
        return backend_of(x).xp.concatenate(values, axis=-1)


INTEGER_STAGES: tuple[type[Stage], ...] = (
    IntegerProduct,
    SumPoolStage,
    LevelStage,
    ScaleStage,
    SlopeStage,
    AddStage,
    ConcatStage,
)


def weight_form(weights: HostArray) -> str:
    """How weights are stored: ``bits`` (+1 and -1), ``ternary`` (also 0), or ``bytes``."""
    if abs(weights.astype(np.int16)).max(initial=0) > 1:
        return "bytes"
    return "bits" if weights.all() else "ternary"
