"""Packed inference on the GPU: kernels of our own (`packed_bits.cu`), and products in float16.

Weights ``W`` are a `BitMatrix`, a ``network`` is `DenseLayers`, both from `packed/inference.py`.

All results are integers and equal the references', whichever way is chosen here. The constants are
estimates from bytes, operations and launches on an H200 (132 multiprocessors; 4.3 TB/s; in one
clock, a multiprocessor counts 512 bits and multiplies 2048 pairs of float16). None has been
measured on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import MOST_BLOCKS, THREADS
from minibnn.backend.implementations import CUDA
from minibnn.bit_words import words_of

WARP = 32
SCORES = [np.dtype(kind) for kind in (np.int32, np.int64, np.int64)]  # acc, A, B
ROWS, TILE, WIDEST = 4, 64, 4096  # as in `packed_bits.cu`

# Up to this number of rows, each column of a product has a warp: in a tile of 64 rows, most threads
# would be idle.
FEW_ROWS = 32
# From this number of rows, and this width, products of bits are computed in float16, whose peak
# rate is four times that of counting bits. They move 4 bytes more for each input and 8 for each
# result, and need three launches instead of two: about 6 us + n (4 k + 8 m) / 4.3 TB/s, for a gain
# of n m k / 150 T/s.
HALF_ROWS, HALF_WIDTH = 2048, 512
# From this number of multiplications, products of pixels are computed in float16. Masked by bits,
# four of them take about ten instructions. At 128 instructions in a clock on each multiprocessor,
# this number takes 10,000 clocks, as long as two more launches and the copy in float16.
HALF_PIXELS = 2**26
# The most float16 inputs and float32 results (counted twice) at a time: 128 MiB.
HALF_VALUES = 2**26
# In the kernel that runs all dense layers, the weight of a pixel takes about as many instructions
# as four weights of bits. A multiprocessor computes about 230 weights of bits in a clock.
PIXEL = 4
# Up to this number of weights of bits, one multiprocessor runs all layers on an image. At the rate
# above they would take 5,000 clocks, but a single image waits for memory: 32 channels are summed at
# a time, and a lane loads a word for each 512 weights of a channel. These are 64 loads in sequence:
# about 20,000 clocks, if none overlap and each takes 300. Five to ten launches take as long.
CHAIN_WEIGHTS = 2**20
# Up to this number of weights times images, a block runs all layers on each image: 140,000 clocks
# of all multiprocessors, as long as the launches and the work layer by layer, at peak rates.
CHAIN_WORK = 2**32


@CUDA.implements("pack_rows")
def pack_rows(backend: Any, bits: Array) -> Array:
    """In one kernel."""
    if bits.ndim != 2 or bits.dtype not in (np.uint8, np.bool_):
        return NotImplemented
    words = backend.xp.empty((len(bits), words_of(bits.shape[1])), np.uint64)
    bits = backend.xp.ascontiguousarray(bits)
    _each(backend, "pack_rows", 8 * words.size, words, bits, np.int64(bits.shape[1]))
    return words


@CUDA.implements("xnor_products")
def xnor_products(backend: Any, a: Array, b: Array, width: int) -> Array:
    """In one kernel."""
    if not _are_words(a, b) or a.shape[1] != b.shape[1]:
        return NotImplemented
    few = len(a) <= FEW_ROWS or len(b) > TILE * MOST_BLOCKS
    return _products(backend, "xnor_few" if few else "xnor_tiled", a, b, width)


@CUDA.implements("bit_products")
def bit_products(backend: Any, bits: Array, W: Any) -> Array:
    """For many rows, in float16."""
    many = len(bits) >= HALF_ROWS and min(len(W), W.width) >= HALF_WIDTH
    if not many or not _are_rows(bits, W) or not W.exact_in_float32(1):
        return NotImplemented
    return _half_products(backend, bits, W, partial(_half_signs, backend))


@CUDA.implements("pixel_products")
def pixel_products(backend: Any, pixels: Array, W: Any) -> Array:
    """For few rows, one kernel; for many, in float16."""
    if not _are_rows(pixels, W) or not _are_words(W.words) or 255 * W.width >= 2**31:
        return NotImplemented
    if len(pixels) * len(W) * W.width < HALF_PIXELS:
        return _products(backend, "pixel_few", pixels, W.words, W.width)
    if not W.exact_in_float32(255):
        return NotImplemented
    return _half_products(backend, pixels, W, lambda x: x.astype(np.float16))


@CUDA.implements("threshold_bits")
def threshold_bits(backend: Any, acc: Array, thresholds: Array, falling: Array) -> Array:
    """In one kernel."""
    kinds = [a.dtype for a in (acc, thresholds, falling)]
    channels = thresholds.size
    if (
        kinds != [np.int32, np.int32, np.bool_]
        or not thresholds.shape == falling.shape == (channels,)
        or acc.size % max(1, channels)
    ):
        return NotImplemented
    acc, thresholds, falling = map(backend.xp.ascontiguousarray, (acc, thresholds, falling))
    bits = backend.xp.empty(acc.shape, np.uint8)
    arguments = (bits, acc, thresholds, falling, np.int64(channels))
    _each(backend, "threshold_bits", acc.size, *arguments)
    return bits


@CUDA.implements("integer_scores")
def integer_scores(backend: Any, acc: Array, A: Array, B: Array) -> Array:
    """In one kernel."""
    if not _are_scores(acc, A, B):
        return NotImplemented
    scores = backend.xp.empty(acc.shape, np.int64)
    acc, A, B = map(backend.xp.ascontiguousarray, (acc, A, B))
    _each(backend, "integer_scores", acc.size, scores, acc, A, B, np.int64(acc.shape[1]))
    return scores


@CUDA.implements("score_labels")
def score_labels(backend: Any, acc: Array, A: Array, B: Array) -> Array:
    """In one kernel, unless there is a single score."""
    if not _are_scores(acc, A, B) or not acc.size or A.size == 1:
        return NotImplemented
    labels = backend.xp.empty(len(acc), np.int64)
    acc, A, B = map(backend.xp.ascontiguousarray, (acc, A, B))
    numbers = np.int64(acc.shape[1]), np.int64(len(acc))
    _warps(backend, "score_labels", len(acc), labels, acc, A, B, *numbers)
    return labels


@CUDA.implements("dense_layers")
def dense_layers(backend: Any, x: Array, network: Any) -> Array:
    """For small networks, one kernel, with a block for each row."""
    agrees = x.dtype == np.uint8 and math.prod(x.shape[1:]) == network.layers[0].width
    if not agrees or not len(x) or not _fits_a_block(network, len(x)):
        return NotImplemented
    x = backend.xp.ascontiguousarray(x)
    constants = network.form("one after another", partial(_one_after_another, backend, network))
    acc = backend.xp.empty((len(x), len(network.layers[-1])), np.int32)
    numbers = np.int32(len(network.layers)), np.int32(network.pixels)
    _launch(backend, "dense_layers", len(x), acc, x, *constants, *numbers)
    return acc


def _fits_a_block(network: Any, rows: int) -> bool:
    """Whether `dense_layers` of `packed_bits.cu` can take the network, and should."""
    weights = sum(len(W) * W.width for W in network.layers)
    if network.pixels:
        weights += (PIXEL - 1) * len(network.layers[0]) * network.layers[0].width
    return (
        weights <= CHAIN_WEIGHTS
        and rows * weights <= CHAIN_WORK
        and max(W.width for W in network.layers) <= WIDEST
        and _are_words(*(W.words for W in network.layers))
    )


def _one_after_another(backend: Any, network: Any) -> tuple[Array, Array, Array, Array]:
    """The arguments of `dense_layers` in `packed_bits.cu`: words, thresholds, falling, table."""
    xp, table, word, threshold = backend.xp, [], 0, 0
    for i, W in enumerate(network.layers):
        last = i == len(network.thresholds)
        table.append([W.width, len(W), word, -1 if last else threshold])
        word, threshold = word + W.words.size, threshold + len(W)
    pairs = list(zip(network.layers, network.thresholds, strict=False))
    # A channel's threshold is repeated for all its positions. Kernels cannot take an empty array.
    ends = xp.zeros(1, np.int32), xp.zeros(1, np.bool_)
    thresholds, falling = (
        xp.concatenate([*(xp.tile(t[k], len(W) // len(t[k])) for W, t in pairs), ends[k]])
        for k in (0, 1)
    )
    words = xp.concatenate([W.words.reshape(-1) for W in network.layers])
    return words, thresholds, falling, backend.asarray(np.array(table, np.int64))


def _half_products(backend: Any, x: Array, W: Any, convert: Callable[[Array], Array]) -> Array:
    """Products of bytes, which `convert` makes float16, for a part of the rows at a time."""
    signs = W.form("half", lambda: _half_columns(backend, W))
    result = backend.xp.empty((len(x), len(W)), np.int32)
    step = max(1, HALF_VALUES // (W.width + 2 * len(W)))
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        result[part] = backend.half_matmul(convert(x[part]), signs)  # casts to int32
    return result


def _half_columns(backend: Any, W: Any) -> Array:
    """The weights as float16 (width, rows)."""
    bits = W.bits()
    return _half_signs(backend, backend.xp.ascontiguousarray(bits.T))


def _half_signs(backend: Any, bits: Array) -> Array:
    """Bits as +1 and -1 in float16."""
    signs = backend.xp.empty(bits.shape, np.float16)
    bits = backend.xp.ascontiguousarray(bits)
    _each(backend, "half_signs", bits.size, signs, bits)
    return signs


def _products(backend: Any, name: str, a: Array, b: Array, width: int) -> Array:
    """Products by one of the kernels, which all have the same arguments."""
    a, b = backend.xp.ascontiguousarray(a), backend.xp.ascontiguousarray(b)
    (n, m), words = (len(a), len(b)), b.shape[1]
    out = backend.xp.empty((n, m), np.int32)
    arguments = (out, a, b, np.int64(n), np.int64(m), np.int64(words), np.int64(width))
    if not out.size:
        return out
    if name == "xnor_tiled":
        _launch(backend, name, (-(-n // TILE), -(-m // TILE)), *arguments)
    else:
        _warps(backend, name, -(-n // ROWS) * m, *arguments)
    return out


def _are_words(*arrays: Array) -> bool:
    return all(a.dtype == np.uint64 and a.ndim == 2 for a in arrays)


def _are_rows(x: Array, W: Any) -> bool:
    """Whether these are rows of bytes, as wide as a row of weights."""
    return bool(x.dtype == np.uint8 and x.ndim == 2 and x.shape[1] == W.width)


def _are_scores(acc: Array, A: Array, B: Array) -> bool:
    """Whether these are accumulators, and two integers for each class."""
    kinds = [a.dtype for a in (acc, A, B)]
    return kinds == SCORES and acc.ndim == 2 and A.shape == B.shape == acc.shape[1:]


def _each(backend: Any, name: str, n: int, *arguments: Any) -> None:
    backend.kernels.each("packed_bits", name, np.float32, n, arguments)


def _warps(backend: Any, name: str, warps: int, *arguments: Any) -> None:
    _launch(backend, name, -(-warps * WARP // THREADS), *arguments)


def _launch(backend: Any, name: str, blocks: int | tuple[int, ...], *arguments: Any) -> None:
    launch = backend.kernels.launch
    launch("packed_bits", name, np.float32, arguments, blocks=blocks, threads=THREADS)
