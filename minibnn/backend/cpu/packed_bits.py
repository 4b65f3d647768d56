"""Rows of bits on the CPU, packed and unpacked row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.implementations import NUMPY
from minibnn.bit_words import WORD, words_of


@NUMPY.implements("pack_rows")
def pack_rows(backend: Any, bits: Array) -> Array:
    """As the reference, without its padded copy, which takes 64 bytes for a row of one bit."""
    if bits.ndim != 2 or bits.dtype not in (np.uint8, np.bool_):
        return NotImplemented
    octets = np.packbits(bits, axis=1, bitorder="little")
    words = np.zeros((len(bits), words_of(bits.shape[1]) * WORD // 8), np.uint8)
    words[:, : octets.shape[1]] = octets
    return words.view("<u8").astype(np.uint64, copy=False)


@NUMPY.implements("unpack_rows")
def unpack_rows(backend: Any, words: Array, width: int) -> Array:
    """As the reference, but it does not unpack the bits beyond the width."""
    if words.ndim != 2 or words.dtype != np.uint64:
        return NotImplemented
    octets = np.ascontiguousarray(words.astype("<u8", copy=False)).view(np.uint8)
    there = min(width, 8 * octets.shape[1])  # beyond, NumPy would make up zeros
    return np.unpackbits(octets, axis=1, count=there, bitorder="little")
