"""The stages of a packed model: a small program on integers.

The values between stages are of one of four kinds, for each sample in row-major order:

.. code-block:: text

    pixels   uint8, or the raw input of a code
    bits     uint8, 1 for +1 and 0 for -1
    acc      int32, the accumulators (the integer sums) of a product
    scores   int64, one for each class

A stage has an input shape and an output shape. From one stage to the next only the shape may
change, not the order of the values, so flattening and reshaping need no stages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from minibnn.backend import CPU, Array, Backend, backend_of
from minibnn.layers.pooling import max_pool
from minibnn.packed.bits import unpack_rows
from minibnn.packed.inference import (
    BitMatrix,
    bit_products,
    integer_scores,
    pixel_products,
    score_labels,
    threshold_bits,
)
from minibnn.windows import Windows

DTYPES = ("uint8", "int8", "int16", "float32")  # of inputs that a code compares
HostArray: TypeAlias = np.ndarray[Any, Any]
Shape: TypeAlias = tuple[int, ...]


# Copies of the stages' arrays on devices, and other forms of them, as long as the stages live.
# They are no attributes, since pickling, copying and comparing stages must not include them.
_KEPT: WeakKeyDictionary[Stage, dict[tuple[Backend, str], Any]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of the program.

    Attributes:
        kind: its name in files and for exporters.
        in_shape: of one sample before it.
        out_shape: of one sample after it.
        sources: the stages whose outputs it takes, by number, -1 for the input; () for the stage
            before it.
    """

    kind: ClassVar[str]
    in_shape: Shape
    out_shape: Shape
    sources: tuple[int, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        for array in self.arrays().values():
            array.flags.writeable = False  # since other forms of it are kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Copies and pickles have new arrays, which become read-only too."""
        self.__dict__.update(state)
        self.__post_init__()

    def arrays(self) -> dict[str, HostArray]:
        """Its arrays by name, on the host and read-only."""
        return {}

    def run(self, x: Array, *others: Array) -> Array:
        """The stage on a batch, on the device where `x` is; several sources give several arrays."""
        raise NotImplementedError

    def on(self, backend: Backend, name: str) -> Array:
        """One of its arrays on a device, as a copy that is kept; on the host, the array itself."""
        if backend.host:
            return getattr(self, name)
        return self.kept(backend, name, lambda: backend.asarray(getattr(self, name)))

    def kept(self, backend: Backend, name: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, made once for each device; it must depend on the arrays only."""
        kept = _KEPT.setdefault(self, {})
        if (backend, name) not in kept:
            kept[backend, name] = make()
        return kept[backend, name]


@dataclass(frozen=True, eq=False)
class Binarize(Stage):
    """Pixels to bits: ``bit = pixel >= threshold``, or ``pixel <= threshold`` if `falling`."""

    kind = "binarize"
    threshold: int
    falling: bool

    def run(self, x: Array, *others: Array) -> Array:
        """The bits, as uint8."""
        x = x.astype(np.int16)  # which holds -1 and 256, too
        bits = x <= self.threshold if self.falling else x >= self.threshold
        return bits.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class CodeStage(Stage):
    """Raw inputs to bits, by comparisons: ``bit[j] = low[j] <= x[feature[j]] <= high[j]``.

    The last axis has the features; all positions before it have the same comparisons. A missing
    value (nan) gives 0; so it does for a sign, whose own value is then nan. An interval without
    numbers has the greatest number as low, and the least as high.

    Attributes:
        dtype: of the input: uint8, int8, int16 or float32.
        feature: (bits,) of int32.
        low: (bits,) of the input's dtype.
        high: (bits,) of the input's dtype.
    """

    kind = "code"
    dtype: str
    feature: HostArray
    low: HostArray
    high: HostArray

    def arrays(self) -> dict[str, HostArray]:
        """Which feature each bit compares, and with what."""
        return {"feature": self.feature, "low": self.low, "high": self.high}

    def run(self, x: Array, *others: Array) -> Array:
        """The bits, as uint8."""
        backend = backend_of(x)
        feature, low, high = (self.on(backend, name) for name in self.arrays())
        values = x.reshape(len(x), *self.in_shape)[..., feature]
        return ((values >= low) & (values <= high)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Product(Stage):
    """Rows of binary weights times bits or pixels: ``acc[c] = sum over i of w[c, i] x[i]``.

    With bits, x and w are +1 and -1 and the sum is ``width - 2 popcount(w xor x)``; with pixels, it
    is the sum of the pixels with a weight of +1, minus the sum of the other pixels.

    Attributes:
        weights: (channels, words) of uint64; see `pack_rows`.
        width: bits in a row: how many values a sum has.
        pixels: whether x are pixels (uint8) instead of bits.
    """

    weights: HostArray
    width: int
    pixels: bool

    @property
    def channels(self) -> int:
        """How many rows of weights there are."""
        return len(self.weights)

    @property
    def step(self) -> int:
        """The gap between neighbouring accumulators: 2 for bits, whose sums have one parity."""
        return 1 if self.pixels else 2

    def reach(self) -> tuple[HostArray, HostArray]:
        """The least and the greatest accumulator of each channel."""
        if not self.pixels:
            high = np.full(self.channels, self.width, np.int64)
            return -high, high
        plus = CPU.run(unpack_rows, self.weights, self.width).sum(axis=1, dtype=np.int64)
        return -255 * (self.width - plus), 255 * plus

    def arrays(self) -> dict[str, HostArray]:
        """The weights."""
        return {"weights": self.weights}

    def sums(self, rows: Array) -> Array:
        """The products (n, channels) of int32 with rows (n, width) of bits or pixels."""
        backend = backend_of(rows)
        weights = self.matrix(backend)
        return backend.run(pixel_products if self.pixels else bit_products, rows, weights)

    def matrix(self, backend: Backend) -> BitMatrix:
        """The weights on a device, as products take them."""
        matrix: BitMatrix = self.kept(
            backend, "matrix", lambda: BitMatrix(self.on(backend, "weights"), self.width)
        )
        return matrix


@dataclass(frozen=True, eq=False)
class DenseStage(Product):
    """`Product` of a whole sample."""

    kind = "dense"

    def run(self, x: Array, *others: Array) -> Array:
        """The accumulators (batch, channels)."""
        return self.sums(x.reshape(len(x), self.width))


def window_rows(x: Array, windows: Windows) -> Array:
    """The im2col matrix: a row for each window, its values in the order (row, column, channel).

    Shapes: x (batch, height, width, channels) of uint8; the result (batch * windows, values of a
    window). On a GPU it is the kernel `im2col` in ``cuda/convolution.cu``.
    """
    down, across = windows.counts(x.shape)
    n, channels = len(x), x.shape[-1]
    rows = backend_of(x).xp.empty((n, down, across, *windows.size, channels), dtype=x.dtype)
    for i, j, ys, xs in windows.positions((down, across)):
        rows[:, :, :, i, j] = x[:, ys, xs]
    return rows.reshape(n * down * across, windows.size[0] * windows.size[1] * channels)


@dataclass(frozen=True, eq=False)
class ConvStage(Product):
    """`Product` of each window of an image.

    Each row of weights is one filter, flattened in the order (row, column, channel).

    Attributes:
        size: rows and columns of a window.
        stride: from one window to the next.
        dilation: from one position in a window to the next.
        border: rows and columns of padding ((above, below), (left, right)).
        border_value: of the padding, a bit or a pixel.
    """

    kind = "conv"
    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    border: tuple[tuple[int, int], tuple[int, int]]
    border_value: int

    def run(self, x: Array, *others: Array) -> Array:
        """The accumulators (batch, rows, columns, channels)."""
        rows = self.rows(x)
        return self.sums(rows).reshape(len(x), *self.out_shape)

    def rows(self, x: Array) -> Array:
        """The im2col matrix (batch * windows, width) of the padded images."""
        backend, n = backend_of(x), len(x)
        height, width, channels = self.in_shape
        (above, below), (left, right) = self.border
        shape = (n, above + height + below, left + width + right, channels)
        X = backend.xp.full(shape, self.border_value, dtype=np.uint8)
        X[:, above : above + height, left : left + width] = x.reshape(n, *self.in_shape)
        windows = Windows(self.size, self.stride, self.dilation)
        matrix: Array = backend.run(window_rows, X, windows)
        return matrix


@dataclass(frozen=True, eq=False)
class PoolStage(Stage):
    """The maximum of each window and channel, of accumulators or of bits (a logical OR)."""

    kind = "pool"
    size: tuple[int, int]
    stride: tuple[int, int]

    def run(self, x: Array, *others: Array) -> Array:
        """The maxima, of the dtype of `x`."""
        windows, images = Windows(self.size, self.stride), x.reshape(len(x), *self.in_shape)
        y, _ = backend_of(x).run(max_pool, images, windows, False)
        return y


@dataclass(frozen=True, eq=False)
class ThresholdStage(Stage):
    """Turns accumulators into bits; each channel (the last axis) has its own integer threshold.

    .. equations::

        bit = acc >= thresholds[c]      or, where falling[c],     acc <= thresholds[c]

    A constant channel has a threshold beyond all accumulators.

    Attributes:
        thresholds: (channels,) of int32.
        falling: (channels,) of bool.

    Reference: batch norm and sign as one threshold, Umuroglu et al. 2017 (FINN), arXiv:1612.07119,
    section 4.2.2.
    """

    kind = "threshold"
    thresholds: HostArray
    falling: HostArray

    def arrays(self) -> dict[str, HostArray]:
        """The thresholds and the directions."""
        return {"thresholds": self.thresholds, "falling": self.falling}

    def run(self, x: Array, *others: Array) -> Array:
        """The bits, as uint8."""
        backend = backend_of(x)
        bits = backend.run(threshold_bits, x, *self.constants(backend))
        return bits.reshape(len(x), *self.out_shape)

    def constants(self, backend: Backend) -> tuple[Array, Array]:
        """The thresholds and the directions, on a device."""
        return self.on(backend, "thresholds"), self.on(backend, "falling")


@dataclass(frozen=True, eq=False)
class ScoreStage(Stage):
    """Turns the last layer's accumulators (its integer sums) into one score for each class.

    .. equations::

        score = A[c] acc + B[c]                  integers; the label is the first greatest
        logit = scale[c] acc + offset[c]         float32: the model's own output

    Attributes:
        A: (classes,) of int64.
        B: (classes,) of int64.
        shift: A and B are the exact real slope and offset, times 2^shift, and rounded; or other
            integers that compare alike.
        fits_int32: whether A, B, every product and every score fit into 32 bits.
        scale: (classes,) of float32.
        offset: (classes,) of float32.
    """

    kind = "scores"
    A: HostArray
    B: HostArray
    shift: int
    fits_int32: bool
    scale: HostArray
    offset: HostArray

    def arrays(self) -> dict[str, HostArray]:
        """The factors of the scores (integers) and of the logits (floats)."""
        return {"A": self.A, "B": self.B, "scale": self.scale, "offset": self.offset}

    def largest(self, low: HostArray, high: HostArray) -> int:
        """An upper bound on the size of A, A acc, and A acc + B, for acc from `low` to `high`."""
        reach = np.maximum(abs(low), abs(high)).tolist()
        scores: list[int] = [
            abs(a) * max(r, 1) + abs(b)
            for a, b, r in zip(self.A.tolist(), self.B.tolist(), reach, strict=True)
        ]
        return max(scores)

    def run(self, x: Array, *others: Array) -> Array:
        """The scores (batch, classes) of int64."""
        backend = backend_of(x)
        acc = x.reshape(len(x), len(self.A))
        return backend.run(integer_scores, acc, self.on(backend, "A"), self.on(backend, "B"))

    def labels(self, x: Array) -> Array:
        """The first class with the greatest score (batch,)."""
        backend = backend_of(x)
        acc = x.reshape(len(x), len(self.A))
        return backend.run(score_labels, acc, self.on(backend, "A"), self.on(backend, "B"))

    def logits(self, x: Array) -> Array:
        """The model's output in float32, up to rounding."""
        backend = backend_of(x)
        acc = x.reshape(len(x), len(self.A)).astype(np.float32)
        return acc * self.on(backend, "scale") + self.on(backend, "offset")


def sources_of(i: int, stage: Stage) -> tuple[int, ...]:
    """The numbers of the stages that stage number i takes, -1 for the input."""
    return stage.sources or (i - 1,)


def last_uses(stages: tuple[Stage, ...]) -> list[int]:
    """For the input and then each stage, the number of the last stage that takes it."""
    last = list(range(-1, len(stages)))
    for i, stage in enumerate(stages):
        for j in sources_of(i, stage):
            last[j + 1] = i
    return last


def run_stages(stages: tuple[Stage, ...], x: Array, stop: int) -> Array:
    """The output of the first `stop` stages; each value is dropped when nothing takes it any more.

    What a stage before `stop` gives to one behind it is not needed here.
    """
    last, values = last_uses(stages[:stop]), {-1: x}
    if stop == 0:
        return x
    for i, stage in enumerate(stages[:stop]):
        taken = sources_of(i, stage)
        values[i] = stage.run(*(values[j] for j in taken))
        for j in {*taken}:
            if last[j + 1] == i:
                del values[j]
    return values[stop - 1]


def size_of(shape: Shape) -> int:
    """How many values a sample of this shape has."""
    return math.prod(shape)


def same_stage(one: Stage, other: Stage) -> bool:
    """Whether two stages are equal, in kind, sizes and arrays."""
    return _description(one) == _description(other) and all(
        np.array_equal(a, other.arrays()[name]) for name, a in one.arrays().items()
    )


def _description(stage: Stage) -> dict[str, Any]:
    """The attributes of a stage, without its arrays."""
    values = {k: v for k, v in vars(stage).items() if not isinstance(v, np.ndarray)}
    return {"kind": stage.kind, **values}
