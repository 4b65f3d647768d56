"""Max pooling on the CPU, in one pass over each image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cpu.c_kernels import FLOAT32, at, fits
from minibnn.backend.cpu.windows import as_given
from minibnn.backend.implementations import COMPILED
from minibnn.windows import Windows


@COMPILED.implements("max_pool")
def max_pool(backend: Any, x: Array, windows: Windows, with_positions: bool) -> Any:
    """For windows whose positions a byte can number."""
    if x.ndim != 4 or not x.size or not fits(x) or math.prod(windows.size) > 256:
        return NotImplemented
    counts = windows.counts(x.shape)
    if min(counts) < 1:
        return NotImplemented
    shape = len(x), *counts, x.shape[-1]
    y = np.empty(shape, FLOAT32)
    position = np.empty(shape, np.uint8) if with_positions else None
    place = None if position is None else at(position)
    backend.c.max_pool(as_given(windows, x.shape, counts), at(x), at(y), place)
    return y, position


@COMPILED.implements("max_pool_gradient")
def max_pool_gradient(
    backend: Any, dy: Array, position: Array, windows: Windows, shape: tuple[int, ...]
) -> Any:
    """For positions in bytes."""
    if dy.shape != (shape[0], *windows.counts(shape), shape[-1]) or not dy.size or not fits(dy):
        return NotImplemented
    if position.shape != dy.shape or position.dtype != np.uint8 or not position.flags.carray:
        return NotImplemented
    dx = np.empty(shape, FLOAT32)
    given = as_given(windows, shape, dy.shape[1:3])
    backend.c.max_pool_gradient(given, at(dy), at(position), at(dx))
    return dx
