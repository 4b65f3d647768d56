"""The arithmetic of packed inference: products of bits and pixels, thresholds, integer scores.

These are reference implementations, as in `bits`; the stages call them through `Backend.run`. All
results are integers, so all implementations give the same results.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.bit_words import words_of
from minibnn.packed.bits import blocks, pack_rows, require, unpack_rows, xnor_products


class Forms:
    """A constant of which an implementation may keep other forms."""

    def __init__(self) -> None:
        self._forms: dict[str, Any] = {}

    def form(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, made once."""
        if name not in self._forms:
            self._forms[name] = make()
        return self._forms[name]


class BitMatrix(Forms):
    """Rows of +1 and -1 as bits.

    Attributes:
        words: (rows, words) of uint64, from `pack_rows`; they must not change.
        width: the number of signs in a row.

    Raises:
        ValueError: if the number of words does not fit the width.
    """

    def __init__(self, words: Array, width: int) -> None:
        super().__init__()
        count = words_of(width)
        require(words.shape[1:] == (count,), "BitMatrix", f"rows of {count} words", words)
        self.words = words
        self.width = width

    def __len__(self) -> int:
        return len(self.words)

    def bits(self) -> Array:
        """The rows of bits, (rows, width) of uint8."""
        return backend_of(self.words).run(unpack_rows, self.words, self.width)

    def exact_in_float32(self, most: int) -> bool:
        """Whether a float32 product with a row of integers is exact, in any order of summation.

        Args:
            most: the largest size of the integers.
        """
        return most * self.width < 2**24


class DenseLayers(Forms):
    """Consecutive dense layers with thresholds between them.

    Attributes:
        pixels: whether the first layer takes pixels instead of bits.
        layers: the weights of each.
        thresholds: after each layer except the last, the thresholds and directions; see
            `threshold_bits`.

    Raises:
        ValueError: for a layer whose width does not fit the layer before it.
    """

    def __init__(
        self,
        pixels: bool,
        layers: tuple[BitMatrix, ...],
        thresholds: tuple[tuple[Array, Array], ...],
    ) -> None:
        super().__init__()
        self.pixels = pixels
        self.layers = layers
        self.thresholds = thresholds
        for (W, following), (t, falling) in zip(pairwise(layers), thresholds, strict=True):
            rows = f"{following.width} rows of weights"
            require(len(W) == following.width, "DenseLayers", rows, W.words)
            # Positions of one channel share its threshold, so there may be fewer.
            agrees = t.shape == falling.shape == (t.size,) and t.size > 0 and len(W) % t.size == 0
            channels = f"thresholds and directions for {len(W)} channels"
            require(agrees, "DenseLayers", channels, t, falling)


def bit_products(bits: Array, W: BitMatrix) -> Array:
    """The product of each row of bits with each row of weights, as `xnor_products`.

    Shapes: bits (n, width) of uint8, W (m, width); the result (n, m) of int32.

    Raises:
        ValueError: for rows of another width.
    """
    _require_rows("bit_products", bits, W)
    backend = backend_of(bits)
    return backend.run(xnor_products, backend.run(pack_rows, bits), W.words, W.width)


def pixel_products(pixels: Array, W: BitMatrix) -> Array:
    """The product of each row of pixels with each row of weights of +1 and -1.

    Floats add integers exactly, in any order, if every partial sum fits into the mantissa: for
    float32, 255 width < 2^24.

    Shapes: pixels (n, width) of uint8, W (m, width); the result (n, m) of int32.

    Raises:
        ValueError: for rows of another width.
    """
    _require_rows("pixel_products", pixels, W)
    backend = backend_of(pixels)
    dtype = np.float32 if W.exact_in_float32(255) else np.float64
    signs = W.form("signs", lambda: _float_signs(W, dtype))
    result = backend.xp.empty((len(pixels), len(W)), dtype=np.int32)
    for block in blocks(len(pixels), W.width):
        sums = backend.matmul(pixels[block].astype(dtype), signs.T)
        result[block] = sums.astype(np.int32)
    return result


def integer_products(rows: Array, W: Array, largest: int) -> Array:
    """The product of each row of integers with each row of integer weights.

    Floats add integers exactly, in any order, if every partial sum fits into the mantissa: float32
    holds 2^24. Sums below 2^31 fit into float64.

    Shapes: rows (n, width) of integers, W (m, width) of int8; the result (n, m) of int32.

    Args:
        rows: of integers of up to 16 bits.
        W: the weights.
        largest: the largest size of the integers in `rows`.

    Raises:
        ValueError: for rows of another width.
    """
    require(rows.shape[1] == W.shape[1], "integer_products", "rows of one width", rows, W)
    backend = backend_of(rows)
    dtype = np.float32 if largest * 127 * W.shape[1] < 2**24 else np.float64
    factors = W.astype(dtype).T
    result = backend.xp.empty((len(rows), len(W)), dtype=np.int32)
    for block in blocks(len(rows), W.shape[1]):
        sums = backend.matmul(rows[block].astype(dtype), factors)
        result[block] = sums.astype(np.int32)
    return result


def _float_signs(W: BitMatrix, dtype: Any) -> Array:
    """The weights as floats of +1 and -1, computed in place."""
    signs = W.bits().astype(dtype)
    signs *= 2
    signs -= 1
    return signs


def threshold_bits(acc: Array, thresholds: Array, falling: Array) -> Array:
    """Turn accumulators into bits; each channel (the last axis) has its own integer threshold.

    .. equations::

        bit = acc >= thresholds[c]      or, where falling[c],     acc <= thresholds[c]

    Shapes: acc of int32, with any shape in which the channel varies fastest; thresholds (channels,)
    of int32, falling (channels,) of bool; the result has the shape of `acc`.

    Raises:
        ValueError: for shapes that do not agree.
    """
    channels = thresholds.size
    require(
        thresholds.shape == falling.shape == (channels,) and acc.size % max(1, channels) == 0,
        "threshold_bits",
        "values that go through the channels in turn, and a threshold and a direction for each",
        *(acc, thresholds, falling),
    )
    rows = acc.reshape(acc.size // max(1, channels), channels)
    bits = backend_of(acc).xp.where(falling, rows <= thresholds, rows >= thresholds)
    return bits.astype(np.uint8).reshape(acc.shape)


def integer_scores(acc: Array, A: Array, B: Array) -> Array:
    """``A acc + B``, with integers A and B for each class.

    Shapes: acc (batch, classes) of int32, A and B (classes,) of int64; the result (batch, classes)
    of int64.

    Raises:
        ValueError: for shapes that do not agree.
    """
    _require_classes("integer_scores", acc, A, B)
    return acc.astype(np.int64) * A + B


def score_labels(acc: Array, A: Array, B: Array) -> Array:
    """The label of each row of `integer_scores`; see `labels_of`.

    Shapes: acc (batch, classes) of int32, A and B (classes,) of int64; the result (batch,).

    Raises:
        ValueError: for shapes that do not agree.
    """
    _require_classes("score_labels", acc, A, B)
    return labels_of(backend_of(acc).run(integer_scores, acc, A, B))


def labels_of(scores: Array) -> Array:
    """The first class with the greatest score; for one score a row, 1 where it is at least 0.

    Shapes: scores, or logits, (batch, classes); the result (batch,) of integers.
    """
    return scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] >= 0).astype(np.intp)


def dense_layers(x: Array, network: DenseLayers) -> Array:
    """The accumulators of the last dense layer.

    Shapes: x (batch, ...) of uint8, with as many values in a row as the first layer's width; the
    result (batch, channels of the last layer) of int32.

    Raises:
        ValueError: for rows of another width.
    """
    width = network.layers[0].width
    require(math.prod(x.shape[1:]) == width, "dense_layers", f"rows of {width} values", x)
    backend = backend_of(x)
    for i, W in enumerate(network.layers):
        pixels, rows = network.pixels and i == 0, x.reshape(len(x), W.width)
        x = backend.run(pixel_products if pixels else bit_products, rows, W)
        if i < len(network.thresholds):
            x = backend.run(threshold_bits, x, *network.thresholds[i])
    return x


def _require_rows(who: str, x: Array, W: BitMatrix) -> None:
    agrees = x.ndim == 2 and x.shape[1] == W.width
    require(agrees, who, f"rows of {W.width} values", x)


def _require_classes(who: str, acc: Array, A: Array, B: Array) -> None:
    classes = acc.shape[1:]
    agrees = acc.ndim == 2 and A.shape == B.shape == classes
    require(agrees, who, f"integers for {acc.shape[-1]} classes", A, B)
