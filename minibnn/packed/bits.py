"""Signs as bits: rows of words, their products, and the bytes of a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array, backend_of


def pack_rows(bits: Array) -> Array:
    """Rows of 0 and 1 as words; see `Backend.pack_rows`.

    >>> pack_rows(np.array([[1, 0, 1]], dtype=np.uint8))
    array([[5]], dtype=uint64)
    """
    return backend_of(bits).pack_rows(bits)


def unpack_rows(words: Array, width: int) -> Array:
    """The rows of 0 and 1 that `pack_rows` was given.

    >>> unpack_rows(np.array([[5]], dtype=np.uint64), 3)
    array([[1, 0, 1]], dtype=uint8)
    """
    return backend_of(words).unpack_rows(words, width)


def xnor_products(a: Array, b: Array, width: int) -> Array:
    """The products of each row of `a` with each row of `b`; see `Backend.xnor_products`.

    >>> a = pack_rows(np.array([[1, 1, 0]], dtype=np.uint8))
    >>> b = pack_rows(np.array([[1, 0, 0], [0, 0, 1]], dtype=np.uint8))
    >>> xnor_products(a, b, 3)
    array([[ 1, -3]], dtype=int32)
    """
    return backend_of(a).xnor_products(a, b, width)


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
