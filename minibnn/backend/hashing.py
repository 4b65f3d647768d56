"""The integers behind `Backend.uniform`: random numbers as a hash of seed, count and place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from minibnn.backend.array import Array


def places(shape: tuple[int, ...]) -> int:
    """How many numbers an array of this shape draws; a count of 32 bits has to reach them."""
    size = math.prod(shape)
    if size > 2**32:
        raise ValueError(
            f"uniform: expected a shape of at most 2^32 numbers, got {shape}; draw it in parts"
        )
    return size


def stream_keys(seed: int, count: int) -> tuple[np.uint32, np.uint32]:
    """Two well-mixed words for one array of a stream.

    One step of SplitMix64, whose state runs through `seed` plus multiples of the golden ratio
    (Steele et al. 2014, "Fast splittable pseudorandom number generators").
    """
    mask = 2**64 - 1
    z = (seed + (count + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    z ^= z >> 31
    return np.uint32(z & 0xFFFFFFFF), np.uint32(z >> 32)


def mix(h: Array) -> Array:
    """MurmurHash3's finaliser of 32 bits, in place."""
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h
