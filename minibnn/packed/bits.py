"""Signs as bits: rows of words, and the products of rows of +1 and -1 by XOR and popcount."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minibnn.backend import Array, Backend, backend_of

WORD = 64
# Words of scratch for a block of XORs: 2 MiB, which the second-level cache of a core mostly holds.
BLOCK = 2**18


def words_of(width: int) -> int:
    """How many words a row of so many bits takes."""
    return -(-width // WORD)


def pack_rows(bits: Array) -> Array:
    """Rows of 0 and 1 as words: bit i of a row goes to word ``i // 64``, position ``i % 64``.

    Bits beyond the width are 0 in every row, so that of two rows they differ nowhere.

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
    """The rows of 0 and 1 that `pack_rows` was given.

    >>> unpack_rows(np.array([[5]], dtype=np.uint64), 3)
    array([[1, 0, 1]], dtype=uint8)
    """
    xp = backend_of(words).xp
    octets = xp.ascontiguousarray(words.astype("<u8")).reshape(-1).view(np.uint8)
    return xp.unpackbits(octets, bitorder="little").reshape(len(words), -1)[:, :width]


def xnor_products(a: Array, b: Array, width: int) -> Array:
    """The products of each row of `a` with each row of `b`, all of them rows of +1 and -1 as bits.

    .. code-block:: text

        sum over i of a_i b_i = width - 2 popcount(a xor b)

    Where two bits are equal the product is +1, else -1, and the bits beyond the width are equal.

    Shapes: a (n, words), b (m, words), both uint64; the result (n, m) of int32.

    Reference: Rastegari et al. 2016, arXiv:1603.05279, section 3.2: a product of binary vectors
    takes XNOR and a count of bits.

    >>> a = pack_rows(np.array([[1, 1, 0]], dtype=np.uint8))
    >>> b = pack_rows(np.array([[1, 0, 0], [0, 0, 1]], dtype=np.uint8))
    >>> xnor_products(a, b, 3)
    array([[ 1, -3]], dtype=int32)
    """
    backend = backend_of(a)
    result = backend.xp.full((len(a), len(b)), width, dtype=np.int32)
    # Word by word, with all pairs of rows at once: a sum over the few words of a row is slow.
    columns = backend.xp.ascontiguousarray(b.T)
    for block in blocks(len(a), len(b)):
        for i, column in enumerate(columns):
            different = popcount(backend, a[block, i, None] ^ column)
            result[block] -= 2 * different.astype(np.int32)
    return result


def popcount(backend: Backend, words: Array) -> Array:
    """How many bits of each word are 1; by a table of bytes where the library cannot count."""
    count = getattr(backend.xp, "bitwise_count", None)
    if count is not None:
        return count(words)
    table = backend.asarray(np.bitwise_count(np.arange(256, dtype=np.uint8)))
    octets = backend.xp.ascontiguousarray(words).view(np.uint8)
    return table.take(octets.reshape(*words.shape, 8)).sum(axis=-1, dtype=np.uint8)


def blocks(rows: int, words_a_row: int) -> Iterator[slice]:
    """Parts of so many rows that each takes at most BLOCK words, but one row at least."""
    step = max(1, BLOCK // max(1, words_a_row))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def flat_bits(words: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    """All rows one after another without padding, as bytes: how a file keeps them."""
    return np.packbits(unpack_rows(words, width).reshape(-1), bitorder="little")


def bits_of_flat(octets: np.ndarray[Any, Any], rows: int, width: int) -> np.ndarray[Any, Any]:
    """The rows of 0 and 1 whose words `flat_bits` was given.

    Raises:
        ValueError: for another number of bytes, or bits beyond the last row that are not 0.
    """
    expected = -(-rows * width // 8)
    if octets.dtype != np.uint8 or octets.shape != (expected,):
        raise ValueError(f"expected {expected} bytes of bits, got {octets.dtype} {octets.shape}")
    bits = np.unpackbits(octets, bitorder="little")
    if bits[rows * width :].any():
        raise ValueError("expected zeros beyond the last bit")
    return bits[: rows * width].reshape(rows, width)


def rows_of_flat(octets: np.ndarray[Any, Any], rows: int, width: int) -> np.ndarray[Any, Any]:
    """The words that `flat_bits` was given.

    Raises:
        ValueError: as from `bits_of_flat`.
    """
    packed: np.ndarray[Any, Any] = pack_rows(bits_of_flat(octets, rows, width))
    return packed
