"""Sums over the batch and batch norm on the CPU."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.implementations import NUMPY


@NUMPY.implements("two_stage_sum")
def two_stage_sum(backend: Any, x: Array, out: Array | None) -> Array:
    """Of matrices, with ones that are kept: to make them was a third of summing a small batch."""
    if x.ndim != 2:
        return NotImplemented
    return np.matmul(_ones(len(x), x.dtype), x, out=None if out is None else out[None])[0]


@lru_cache(maxsize=16)
def _ones(n: int, dtype: Any) -> Array:
    ones = np.ones((1, n), dtype)
    ones.flags.writeable = False
    return ones
