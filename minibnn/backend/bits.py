"""Primitives on bits: rows of +1 and -1 as words, their products, thresholds, integer scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from minibnn.backend.array import Array

WORD = 64
# Words of scratch for a block of XORs: 2 MiB, which the second-level cache of a core mostly holds.
BLOCK = 2**18


class Forms:
    """Something constant, beside which a backend may keep other forms of it."""

    def __init__(self) -> None:
        self._forms: dict[str, Any] = {}

    def form(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once."""
        if name not in self._forms:
            self._forms[name] = make()
        return self._forms[name]


class BitMatrix(Forms):
    """Rows of +1 and -1 as bits.

    Attributes:
        words: (rows, words) of uint64, as `Bits.pack_rows` gives them; they must not change.
        width: how many signs a row has.
    """

    def __init__(self, words: Array, width: int) -> None:
        super().__init__()
        self.words = words
        self.width = width

    def __len__(self) -> int:
        return len(self.words)


class DenseLayers(Forms):
    """Dense layers one after another, with thresholds between them: from values to accumulators.

    Attributes:
        pixels: whether the first layer takes pixels instead of bits.
        layers: the weights of each.
        thresholds: behind each layer but the last: integers, and where bits fall, see
            `Bits.threshold_bits`.
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


class Bits:
    """Part of `Backend`; the plain bodies.

    A bit is 1 for +1 and 0 for -1. Rows of bits come as bytes, (rows, width) of uint8, or as words,
    (rows, words) of uint64.
    """

    xp: ModuleType

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """See `Backend`."""
        raise NotImplementedError

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """See `Backend`."""
        raise NotImplementedError

    def pack_rows(self, bits: Array) -> Array:
        """Rows of 0 and 1 as words: bit i of a row goes to word ``i // 64``, position ``i % 64``.

        Bits beyond the width are 0 in every row, so that of two rows they differ nowhere.

        Shapes: bits (rows, width) of bool or uint8; the result (rows, words) of uint64.
        """
        xp = self.xp
        rows, width = bits.shape
        padded = xp.zeros((rows, words_of(width) * WORD), dtype=np.uint8)
        padded[:, :width] = bits
        octets = xp.packbits(padded.reshape(-1), bitorder="little")
        return octets.view("<u8").astype(np.uint64, copy=False).reshape(rows, words_of(width))

    def unpack_rows(self, words: Array, width: int) -> Array:
        """The rows of 0 and 1, as uint8, that `pack_rows` was given."""
        xp = self.xp
        octets = xp.ascontiguousarray(words.astype("<u8")).reshape(-1).view(np.uint8)
        return xp.unpackbits(octets, bitorder="little").reshape(len(words), -1)[:, :width]

    def popcount(self, words: Array) -> Array:
        """How many bits of each word are 1; by a table of bytes where the library cannot count."""
        count = getattr(self.xp, "bitwise_count", None)
        if count is not None:
            return count(words)
        table = self.asarray(np.bitwise_count(np.arange(256, dtype=np.uint8)))
        octets = self.xp.ascontiguousarray(words).view(np.uint8)
        return table.take(octets.reshape(*words.shape, 8)).sum(axis=-1, dtype=np.uint8)

    def xnor_products(self, a: Array, b: Array, width: int) -> Array:
        """The products of each row of `a` with each row of `b`, all of them rows of +1 and -1.

        .. code-block:: text

            sum over i of a_i b_i = width - 2 popcount(a xor b)

        Where two bits are equal the product is +1, else -1, and the bits beyond the width are
        equal.

        Shapes: a (n, words), b (m, words), both uint64; the result (n, m) of int32.

        Reference: Rastegari et al. 2016, arXiv:1603.05279, section 3.2: a product of binary vectors
        takes XNOR and a count of bits.
        """
        xp = self.xp
        result = xp.full((len(a), len(b)), width, dtype=np.int32)
        # Word by word, with all pairs of rows at once: a sum over the few words of a row is slow.
        columns = xp.ascontiguousarray(b.T)
        for block in blocks(len(a), len(b)):
            for i, column in enumerate(columns):
                different = self.popcount(a[block, i, None] ^ column)
                result[block] -= 2 * different.astype(np.int32)
        return result

    def bit_products(self, bits: Array, W: BitMatrix) -> Array:
        """The product of each row of bits with each row of weights, as `xnor_products`.

        Shapes: bits (n, width) of uint8, W (m, width); the result (n, m) of int32.
        """
        return self.xnor_products(self.pack_rows(bits), W.words, W.width)

    def pixel_products(self, pixels: Array, W: BitMatrix) -> Array:
        """The product of each row of pixels with each row of weights of +1 and -1.

        Floats add whole numbers exactly as long as every partial sum has a place in the mantissa,
        in whatever order: 255 width < 2^24 for float32.

        Shapes: pixels (n, width) of uint8, W (m, width); the result (n, m) of int32.
        """
        dtype = np.float32 if exact_in_float32(255, W.width) else np.float64
        signs = W.form("signs", lambda: self._float_signs(W, dtype))
        result = self.xp.empty((len(pixels), len(W)), dtype=np.int32)
        for block in blocks(len(pixels), W.width):
            sums = self.matmul(pixels[block].astype(dtype), signs.T)
            result[block] = sums.astype(np.int32)
        return result

    def _float_signs(self, W: BitMatrix, dtype: Any) -> Array:
        """+1 and -1, in floats that take no more memory than they have to."""
        signs = self.unpack_rows(W.words, W.width).astype(dtype)
        signs *= 2
        signs -= 1
        return signs

    def threshold_bits(self, acc: Array, thresholds: Array, falling: Array) -> Array:
        """Accumulators to bits, each channel (the last axis) by its own integer.

        .. code-block:: text

            bit = acc >= thresholds[c]      or, where falling[c],     acc <= thresholds[c]

        Shapes: acc in any shape whose values go through the channels in turn, of int32; thresholds
        (channels,) of int32, falling (channels,) of bool; the result has the shape of `acc`.
        """
        rows = acc.reshape(acc.size // len(thresholds), len(thresholds))
        bits = self.xp.where(falling, rows <= thresholds, rows >= thresholds)
        return bits.astype(np.uint8).reshape(acc.shape)

    def integer_scores(self, acc: Array, A: Array, B: Array) -> Array:
        """``A acc + B``, each class with its own integers.

        Shapes: acc (batch, classes) of int32, A and B (classes,) of int64; so is the result.
        """
        return acc.astype(np.int64) * A + B

    def score_labels(self, acc: Array, A: Array, B: Array) -> Array:
        """The class with the greatest of `integer_scores` in each row, the first of equals."""
        return self.integer_scores(acc, A, B).argmax(axis=1)

    def dense_layers(self, x: Array, network: DenseLayers) -> Array:
        """The accumulators of the last of some dense layers.

        Shapes: x (batch, ...) of uint8, whose rows have as many values as the first layer's width;
        the result (batch, channels of the last layer) of int32.
        """
        for i, W in enumerate(network.layers):
            x = x.reshape(len(x), W.width)
            products = self.pixel_products if network.pixels and i == 0 else self.bit_products
            x = products(x, W)
            if i < len(network.thresholds):
                x = self.threshold_bits(x, *network.thresholds[i])
        return x


def words_of(width: int) -> int:
    """How many words a row of so many bits takes."""
    return -(-width // WORD)


def exact_in_float32(most: int, count: int) -> bool:
    """Whether a sum of so many integers of this size at most is exact in any order."""
    return most * count < 2**24


def blocks(rows: int, words_a_row: int) -> Iterator[slice]:
    """Parts of so many rows that each takes at most BLOCK words, but one row at least."""
    step = max(1, BLOCK // max(1, words_a_row))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
