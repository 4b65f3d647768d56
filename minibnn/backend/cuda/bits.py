"""Primitives on bits by kernels of our own (`cuda/bits.cu`) and products of float16.

All results are integers, equal to those of the plain bodies whatever is chosen here. The constants
follow from counted bytes, operations and launches on an H200 (132 multiprocessors; 4.3 TB/s; in a
clock, one multiprocessor counts 512 bits and multiplies 2048 pairs of float16); none has been
measured on a GPU.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.base import Backend
from minibnn.backend.bits import BitMatrix, DenseLayers, exact_in_float32, words_of
from minibnn.backend.cuda.kernels import MOST_BLOCKS, THREADS, Kernels

WARP = 32
SCORES = [np.dtype(kind) for kind in (np.int32, np.int64, np.int64)]  # acc, A, B
ROWS, TILE, WIDEST = 4, 64, 4096  # as in `bits.cu`

# Rows up to which each column of a product has a warp: in a tile of 64 rows most would be idle.
FEW_ROWS = 32
# From so many rows, and so wide, products of bits are products of float16, whose peak is four times
# that of counting bits. They move 4 bytes more for an input and 8 for a result, and are three
# launches instead of two: about 6 us + n (4 k + 8 m) / 4.3 TB/s, against n m k / 150 T/s gained.
HALF_ROWS, HALF_WIDTH = 2048, 512
# From so many multiplications products of pixels are of float16. Masked by bits, four of them take
# about ten instructions: at 128 in a clock on each multiprocessor this many take 10,000 clocks, as
# long as two more launches and the copy in float16.
HALF_PIXELS = 2**26
# Float16 inputs, and float32 results counted twice, at once: 128 MiB of them.
HALF_VALUES = 2**26
# In the block that runs all dense layers on an image, a weight of a pixel takes about as many
# instructions as four weights of bits, of which a multiprocessor does about 230 in a clock.
PIXEL = 4
# Weights of bits up to which one multiprocessor runs all layers on an image. At the rate above
# these would take 5,000 clocks, but one image waits: 32 channels are summed at once, and for each
# 512 weights of a channel a lane loads a word. That makes 64 loads one after another: if none
# overlap and each takes 300 clocks, about 20,000, in which five to ten launches are made. Counted,
# not measured.
CHAIN_WEIGHTS = 2**20
# Weights times images up to which each image goes through such a block: 140,000 clocks of all
# multiprocessors. That is as long as layer by layer at peak rates, and its launches.
CHAIN_WORK = 2**32


class CupyBits(Backend):
    """Part of `CupyBackend`."""

    kernels: Kernels

    def pack_rows(self, bits: Array) -> Array:
        """As the plain body, in one kernel."""
        if bits.ndim != 2 or bits.dtype not in (np.uint8, np.bool_):
            return super().pack_rows(bits)
        words = self.xp.empty((len(bits), words_of(bits.shape[1])), np.uint64)
        bits = self.xp.ascontiguousarray(bits)
        self._each("pack_rows", 8 * words.size, words, bits, np.int64(bits.shape[1]))
        return words

    def xnor_products(self, a: Array, b: Array, width: int) -> Array:
        """As the plain body, in one kernel."""
        if not self._words(a, b):
            return super().xnor_products(a, b, width)
        _expect(a.shape[1] == b.shape[1], "xnor_products", "as many words in a row of both", a, b)
        few = len(a) <= FEW_ROWS or len(b) > TILE * MOST_BLOCKS
        return self._products("xnor_few" if few else "xnor_tiled", a, b, width)

    def bit_products(self, bits: Array, W: BitMatrix) -> Array:
        """As the plain body; of many rows as float16."""
        _expect_rows("bit_products", bits, W)
        many = len(bits) >= HALF_ROWS and min(len(W), W.width) >= HALF_WIDTH
        if not many or bits.dtype != np.uint8 or not exact_in_float32(1, W.width):
            return super().bit_products(bits, W)
        return self._half_products(bits, W, self._half_signs)

    def pixel_products(self, pixels: Array, W: BitMatrix) -> Array:
        """As the plain body; of few rows in one kernel, of many as float16."""
        _expect_rows("pixel_products", pixels, W)
        if pixels.dtype != np.uint8 or not self._words(W.words) or 255 * W.width >= 2**31:
            return super().pixel_products(pixels, W)
        if len(pixels) * len(W) * W.width < HALF_PIXELS:
            return self._products("pixel_few", pixels, W.words, W.width)
        if not exact_in_float32(255, W.width):
            return super().pixel_products(pixels, W)
        return self._half_products(pixels, W, lambda x: x.astype(np.float16))

    def threshold_bits(self, acc: Array, thresholds: Array, falling: Array) -> Array:
        """As the plain body, in one kernel."""
        kinds = [a.dtype for a in (acc, thresholds, falling)]
        if kinds != [np.int32, np.int32, np.bool_]:
            return super().threshold_bits(acc, thresholds, falling)
        _expect(
            thresholds.ndim == 1
            and falling.shape == thresholds.shape
            and acc.size % max(1, thresholds.size) == 0,
            "threshold_bits",
            "values that go through the channels in turn, and a threshold and a direction for each",
            *(acc, thresholds, falling),
        )
        acc, thresholds, falling = map(self.xp.ascontiguousarray, (acc, thresholds, falling))
        bits = self.xp.empty(acc.shape, np.uint8)
        channels = np.int64(len(thresholds))
        self._each("threshold_bits", acc.size, bits, acc, thresholds, falling, channels)
        return bits

    def integer_scores(self, acc: Array, A: Array, B: Array) -> Array:
        """As the plain body, in one kernel."""
        if [a.dtype for a in (acc, A, B)] != SCORES or acc.ndim != 2:
            return super().integer_scores(acc, A, B)
        _expect_classes("integer_scores", acc, A, B)
        scores = self.xp.empty(acc.shape, np.int64)
        acc, A, B = map(self.xp.ascontiguousarray, (acc, A, B))
        self._each("integer_scores", acc.size, scores, acc, A, B, np.int64(acc.shape[1]))
        return scores

    def score_labels(self, acc: Array, A: Array, B: Array) -> Array:
        """As the plain body, in one kernel."""
        if [a.dtype for a in (acc, A, B)] != SCORES or acc.ndim != 2 or not acc.size:
            return super().score_labels(acc, A, B)
        _expect_classes("score_labels", acc, A, B)
        labels = self.xp.empty(len(acc), np.int64)
        acc, A, B = map(self.xp.ascontiguousarray, (acc, A, B))
        numbers = np.int64(acc.shape[1]), np.int64(len(acc))
        self._warps("score_labels", len(acc), labels, acc, A, B, *numbers)
        return labels

    def dense_layers(self, x: Array, network: DenseLayers) -> Array:
        """As the plain body; small networks in one kernel, a block for each row."""
        width = network.layers[0].width
        agrees = math.prod(x.shape[1:]) == width
        _expect(agrees, "dense_layers", f"rows of {width} values", x)
        if x.dtype != np.uint8 or not len(x) or not self._fits_a_block(network, len(x)):
            return super().dense_layers(x, network)
        x = self.xp.ascontiguousarray(x)
        constants = network.form("one after another", partial(self._one_after_another, network))
        acc = self.xp.empty((len(x), len(network.layers[-1])), np.int32)
        numbers = np.int32(len(network.layers)), np.int32(network.pixels)
        self._launch("dense_layers", len(x), acc, x, *constants, *numbers)
        return acc

    def _fits_a_block(self, network: DenseLayers, rows: int) -> bool:
        """Whether `dense_layers` of `bits.cu` can take them, and should."""
        weights = sum(len(W) * W.width for W in network.layers)
        if network.pixels:
            weights += (PIXEL - 1) * len(network.layers[0]) * network.layers[0].width
        return (
            weights <= CHAIN_WEIGHTS
            and rows * weights <= CHAIN_WORK
            and max(W.width for W in network.layers) <= WIDEST
            and self._words(*(W.words for W in network.layers))
        )

    def _one_after_another(self, network: DenseLayers) -> tuple[Array, Array, Array, Array]:
        """What `dense_layers` of `bits.cu` reads: words, thresholds, falling, table."""
        _expect_chain(network)
        xp, table, word, threshold = self.xp, [], 0, 0
        for i, W in enumerate(network.layers):
            last = i == len(network.thresholds)
            table.append([W.width, len(W), word, -1 if last else threshold])
            word, threshold = word + W.words.size, threshold + len(W)
        pairs = list(zip(network.layers, network.thresholds, strict=False))
        # A channel's threshold holds for all its places; and kernels take no empty array.
        ends = xp.zeros(1, np.int32), xp.zeros(1, np.bool_)
        thresholds, falling = (
            xp.concatenate([*(xp.tile(t[k], len(W) // len(t[k])) for W, t in pairs), ends[k]])
            for k in (0, 1)
        )
        words = xp.concatenate([W.words.reshape(-1) for W in network.layers])
        return words, thresholds, falling, self.asarray(np.array(table, np.int64))

    def _half_products(self, x: Array, W: BitMatrix, convert: Any) -> Array:
        """Of bytes that `convert` makes float16, a part of the rows at a time."""
        signs = W.form("half", lambda: self._half_columns(W))
        result = self.xp.empty((len(x), len(W)), np.int32)
        step = max(1, HALF_VALUES // (W.width + 2 * len(W)))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            result[part] = self.half_matmul(convert(x[part]), signs)  # a cast on the way
        return result

    def _half_columns(self, W: BitMatrix) -> Array:
        """The weights as float16 (width, rows)."""
        bits = self.unpack_rows(W.words, W.width)
        return self._half_signs(self.xp.ascontiguousarray(bits.T))

    def _half_signs(self, bits: Array) -> Array:
        """Bits as +1 and -1 in float16."""
        signs = self.xp.empty(bits.shape, np.float16)
        bits = self.xp.ascontiguousarray(bits)
        self._each("half_signs", bits.size, signs, bits)
        return signs

    def _products(self, name: str, a: Array, b: Array, width: int) -> Array:
        """By one of the kernels for products, which take the same."""
        a, b = self.xp.ascontiguousarray(a), self.xp.ascontiguousarray(b)
        (n, m), words = (len(a), len(b)), b.shape[1]
        out = self.xp.empty((n, m), np.int32)
        arguments = (out, a, b, np.int64(n), np.int64(m), np.int64(words), np.int64(width))
        if not out.size:
            return out
        if name == "xnor_tiled":
            self._launch(name, (-(-n // TILE), -(-m // TILE)), *arguments)
        else:
            self._warps(name, -(-n // ROWS) * m, *arguments)
        return out

    def _words(self, *arrays: Array) -> bool:
        return all(a.dtype == np.uint64 and a.ndim == 2 for a in arrays)

    def _each(self, name: str, n: int, *arguments: Any) -> None:
        self.kernels.each("bits", name, np.float32, n, arguments)

    def _warps(self, name: str, warps: int, *arguments: Any) -> None:
        self._launch(name, -(-warps * WARP // THREADS), *arguments)

    def _launch(self, name: str, blocks: int | tuple[int, ...], *arguments: Any) -> None:
        self.kernels.launch("bits", name, np.float32, arguments, blocks=blocks, threads=THREADS)


def _expect(agrees: bool, who: str, expected: str, *got: Array) -> None:
    """Kernels read as far as they are told, so arrays that do not agree stop here."""
    if not agrees:
        shapes = " and ".join(str(a.shape) for a in got)
        raise ValueError(f"{who}: expected {expected}, got {shapes}")


def _expect_rows(who: str, x: Array, W: BitMatrix) -> None:
    """Whether a product of these rows and weights is one."""
    _expect(x.ndim == 2 and x.shape[1] == W.width, who, f"rows of {W.width} values", x)
    words = words_of(W.width)
    _expect(W.words.shape[1:] == (words,), who, f"weights in rows of {words} words", W.words)


def _expect_classes(who: str, acc: Array, A: Array, B: Array) -> None:
    """Whether each class has its integers."""
    classes = acc.shape[1:]
    _expect(A.shape == B.shape == classes, who, f"integers for {classes[0]} classes", A, B)


def _expect_chain(network: DenseLayers) -> None:
    """Whether each layer takes what the one before it gives."""
    who, layers = "dense_layers", network.layers
    for W in layers:
        words = words_of(W.width)
        _expect(W.words.shape[1:] == (words,), who, f"weights in rows of {words} words", W.words)
    # Places of one channel share its threshold, so there may be fewer.
    for (W, following), (t, falling) in zip(pairwise(layers), network.thresholds, strict=True):
        _expect(len(W) == following.width, who, f"{following.width} rows of weights", W.words)
        agrees = t.shape == falling.shape == (t.size,) and t.size > 0 and len(W) % t.size == 0
        _expect(agrees, who, f"thresholds and directions for {len(W)} channels", t, falling)
