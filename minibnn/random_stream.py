"""Random numbers inside a network: streams that repeat, with equal numbers on every device."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

from minibnn.backend import Array, Backend
from minibnn.checks import integer
from minibnn.state import State, Stateful, require_form


class RandomStream(Stateful):
    """A stream of uniform random numbers, for layers and functions such as dropout.

    The numbers depend on three things only: the seed, how many arrays were drawn before (`count`),
    and the position in the whole batch. (An array that holds only a part of the batch begins at
    sample number `first_sample`.) So a device keeps no hidden state. CPU and GPU draw the same
    numbers. Set `count` back to draw the same numbers again.

    An attribute of a `Layer` that is a `RandomStream` gets its seed from ``model.initialize(rng)``.
    The gradient check repeats its draws; drawing in a backward is an error there.

    Attributes:
        seed: 0 to 2^63 - 1; None before `initialize`.

    >>> from minibnn.backend import CPU
    >>> stream = RandomStream()
    >>> stream.initialize(np.random.default_rng(0))
    >>> batch = stream.uniform(CPU, (4, 3), np.float32)
    >>> stream.count = 0
    >>> stream.first_sample = 2
    >>> bool((stream.uniform(CPU, (2, 3), np.float32) == batch[2:]).all())
    True
    """

    def __init__(self) -> None:
        self.seed: int | None = None
        self._first_sample = 0
        self._count = 0

    def __repr__(self) -> str:
        return f"RandomStream(seed={self.seed}, count={self._count})"

    @property
    def count(self) -> int:
        """How many arrays were drawn so far; set it back to draw them again."""
        return self._count

    @count.setter
    def count(self, count: int) -> None:
        self._count = integer("RandomStream", "count", count, least=0)

    @property
    def first_sample(self) -> int:
        """The position of an array's first sample in the whole batch.

        Set it for a part of a batch: the parts then draw the same numbers as the whole. It is 0
        for a whole batch and for weights.
        """
        return self._first_sample

    @first_sample.setter
    def first_sample(self, position: int) -> None:
        self._first_sample = integer("RandomStream", "first_sample", position, least=0)

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the seed and start from the beginning."""
        self.seed = int(rng.integers(2**63))
        self.count = 0

    def state(self) -> State:
        """The seed, and how many arrays were drawn; see `minibnn.state`."""
        return {"seed": self.seed, "count": self._count}

    def restore(self, state: State) -> None:
        """Continue where the stream was when `state` was taken."""
        require_form("RandomStream", self.state(), state)
        seed = state["seed"]
        seed = None if seed is None else integer("RandomStream", "seed", seed, least=0)
        self.count, self.seed = state["count"], seed

    def next_keys(self) -> tuple[Any, Any]:
        """The keys of the next array, which then counts as drawn; see `stream_keys`.

        Raises:
            RuntimeError: before `initialize`.
        """
        if self.seed is None:
            raise RuntimeError(
                "RandomStream: expected a seed, but none has been drawn; call "
                "model.initialize(rng) first"
            )
        self._count += 1
        return stream_keys(self.seed, self._count - 1)

    def uniform(self, backend: Backend, shape: tuple[int, ...], dtype: Any) -> Array:
        """The next array of numbers in [0, 1), multiples of 2^-24.

        Args:
            backend: where the array lies.
            shape: (samples, ...), or another one.
            dtype: float32 or float64; the values are the same.

        Raises:
            RuntimeError: before `initialize`.
            ValueError: for positions beyond 2^32 in the whole batch.
        """
        k0, k1 = self.next_keys()
        first = self._first_sample * math.prod(shape[1:])
        return backend.run(uniform, backend.xp, shape, k0, k1, first, dtype)


def stream_keys(seed: int, count: int) -> tuple[np.uint32, np.uint32]:
    """Two well-mixed numbers for array `count` of the stream with this `seed`.

    This is one step of SplitMix64. Its state runs through `seed` plus multiples of the golden
    ratio.

    Reference: Steele et al. 2014, "Fast splittable pseudorandom number generators".
    """
    mask = 2**64 - 1
    z = (seed + (count + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    z ^= z >> 31
    return np.uint32(z & 0xFFFFFFFF), np.uint32(z >> 32)


def uniform(
    xp: ModuleType, shape: tuple[int, ...], k0: Any, k1: Any, first: int, dtype: Any
) -> Array:
    """Numbers in [0, 1), each from its position and two key numbers, which choose the sequence.

    .. equations::

        u[i] = (mix(mix(first + i + k0) xor k1) >> 8) / 2^24

    All integers have 32 bits, so every device gives the same numbers to the last bit.

    Args:
        xp: the array module.
        shape: of the result.
        k0: the first key, a uint32, which may be a 0-d array.
        k1: the second.
        first: the position of the first number.
        dtype: float32 or float64; the values are the same.

    Raises:
        ValueError: for positions beyond 2^32, where the numbers would repeat.

    Reference: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", show that the
    mixed bits of a counter are good random numbers.
    """
    h = xp.arange(first, last_position(shape, first), dtype=np.uint32)
    h += k0
    h = mix(h)
    h ^= k1
    h = mix(h)
    h >>= np.uint32(8)
    u = h.astype(dtype)
    u *= 2.0**-24
    return u.reshape(shape)


def mix(h: Array) -> Array:
    """Mix all 32 bits with each other: the finaliser of MurmurHash3 (Appleby 2011), in place."""
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h


def last_position(shape: tuple[int, ...], first: int) -> int:
    """The position after an array's last number, at most 2^32."""
    last = first + math.prod(shape)
    if first < 0 or last > 2**32:
        raise ValueError(
            f"uniform: expected a shape of at most 2^32 numbers, got {shape} from position {first} "
            "on; draw it in parts"
        )
    return last
