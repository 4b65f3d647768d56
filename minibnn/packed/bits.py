"""Signs as bits: packing into words, products of words, and conversion to bytes.

A bit is 1 for +1 and 0 for -1. Rows of bits are bytes, (rows, width) of uint8, or words,
(rows, words) of uint64. `pack_rows`, `unpack_rows` and `xnor_products` are reference
implementations; call them through `Backend.run`, which chooses the device's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minibnn.backend import CPU, Array, backend_of
from minibnn.bit_words import WORD, words_of

# Words of scratch for a block of XORs: 2 MiB, about the second-level cache of a core.
BLOCK = 2**18


def pack_rows(bits: Array) -> Array:
    """Pack rows of bits into words: bit i of a row goes to word ``i // 64``, position ``i % 64``.

    Bits beyond the width are 0, so they never differ between two rows.

    Shapes: bits (rows, width) of bool or uint8; the result (rows, words) of uint64.

    >>> pack_rows(np.array([[1, 0, 1]], dtype=np.uint8))
    array([[5]], dtype=uint64)
    """
    xp = backend_of(bits).xp
    rows, width = bits.shape
    padded = xp.zeros((rows, words_of(width) * WORD), dtype=np.uint8)
    padded[:, :width] = bits
    octets = xp.packbits(padded.reshape(-1), bitorder="little")
    return octets.view("<u8").astype(np.uint64, copy=False).reshape(rows, words_of(width))


def unpack_rows(words: Array, width: int) -> Array:
    """The inverse of `pack_rows`: the bits as uint8.

    >>> unpack_rows(np.array([[5]], dtype=np.uint64), 3)
    array([[1, 0, 1]], dtype=uint8)
    """
    xp = backend_of(words).xp
    octets = xp.ascontiguousarray(words.astype("<u8")).reshape(-1).view(np.uint8)
    bits = xp.unpackbits(octets, bitorder="little")
    return bits.reshape(len(words), WORD * words.shape[1])[:, :width]


def popcount(words: Array) -> Array:
    """The number of 1s in each word; by a table of bytes if `bitwise_count` is missing."""
    backend = backend_of(words)
    count = getattr(backend.xp, "bitwise_count", None)
    if count is not None:
        return count(words)
    table = backend.asarray(np.bitwise_count(np.arange(256, dtype=np.uint8)))
    octets = backend.xp.ascontiguousarray(words).view(np.uint8)
    return table.take(octets.reshape(*words.shape, 8)).sum(axis=-1, dtype=np.uint8)


def xnor_products(a: Array, b: Array, width: int) -> Array:
    """The product of each row of `a` with each row of `b`, as rows of +1 and -1.

    .. equations::

        sum over i of a_i b_i = width - 2 popcount(a xor b)

    Equal bits contribute +1, different bits -1. The unused bits of the last word have to be equal
    in both, as those of `pack_rows` are.

    Shapes: a (n, words), b (m, words), both uint64; the result (n, m) of int32.

    Raises:
        ValueError: if the rows differ in the number of words.

    Reference: products of binary vectors by XNOR and bit counts, Rastegari et al. 2016,
    arXiv:1603.05279, section 3.2.

    >>> a = pack_rows(np.array([[1, 1, 0]], dtype=np.uint8))
    >>> b = pack_rows(np.array([[1, 0, 0], [0, 0, 1]], dtype=np.uint8))
    >>> xnor_products(a, b, 3)
    array([[ 1, -3]], dtype=int32)
    """
    require(a.shape[1] == b.shape[1], "xnor_products", "as many words in a row of both", a, b)
    xp = backend_of(a).xp
    result = xp.full((len(a), len(b)), width, dtype=np.int32)
    # Word by word, for all pairs of rows at once, since a sum over the few words of a row is slow.
    columns = xp.ascontiguousarray(b.T)
    for block in blocks(len(a), len(b)):
        for i, column in enumerate(columns):
            different = popcount(a[block, i, None] ^ column)
            result[block] -= 2 * different.astype(np.int32)
    return result


def blocks(rows: int, words_a_row: int) -> Iterator[slice]:
    """Slices of rows with at most BLOCK words each, but at least one row."""
    step = max(1, BLOCK // max(1, words_a_row))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def require(agrees: bool, who: str, expected: str, *got: Array) -> None:
    """Raise ValueError for arrays whose shapes do not agree."""
    if not agrees:
        shapes = " and ".join(str(a.shape) for a in got)
        raise ValueError(f"{who}: expected {expected}, got {shapes}")


def flat_bits(words: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    """All rows one after another, without padding, as bytes."""
    return np.packbits(CPU.run(unpack_rows, words, width).reshape(-1), bitorder="little")


def bits_of_flat(octets: np.ndarray[Any, Any], rows: int, width: int) -> np.ndarray[Any, Any]:
    """The inverse of `flat_bits`, as bits: one row of bits for each row.

    Raises:
        ValueError: for a wrong number of bytes, or bits beyond the last row that are not 0.
    """
    expected = -(-rows * width // 8)
    if octets.dtype != np.uint8 or octets.shape != (expected,):
        raise ValueError(f"expected {expected} bytes of bits, got {octets.dtype} {octets.shape}")
    bits = np.unpackbits(octets, bitorder="little")
    if bits[rows * width :].any():
        raise ValueError("expected zeros beyond the last bit")
    return bits[: rows * width].reshape(rows, width)


def rows_of_flat(octets: np.ndarray[Any, Any], rows: int, width: int) -> np.ndarray[Any, Any]:
    """The inverse of `flat_bits`, as words.

    Raises:
        ValueError: as from `bits_of_flat`.
    """
    packed: np.ndarray[Any, Any] = CPU.run(pack_rows, bits_of_flat(octets, rows, width))
    return packed


def narrowest(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same integers in the narrowest of 16, 32 and 64 bits."""
    for dtype in (np.int16, np.int32):
        info = np.iinfo(dtype)
        if array.size == 0 or (array.min() >= info.min and array.max() <= info.max):
            return array.astype(dtype)
    return array
