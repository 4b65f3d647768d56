"""Pooling on the GPU, each in one kernel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import C_NAMES
from minibnn.backend.cuda.windows import fits, launch
from minibnn.backend.implementations import CUDA
from minibnn.windows import Windows


@CUDA.implements("max_pool")
def max_pool(backend: Any, x: Array, windows: Windows, with_positions: bool) -> Any:
    """For windows whose positions a byte can number."""
    numbered = not with_positions or math.prod(windows.size) <= 256
    if not numbered or not fits(windows, x.shape, x, kinds=C_NAMES):
        return NotImplemented
    x = backend.xp.ascontiguousarray(x)
    y = backend.xp.empty(_pooled(x, windows), dtype=x.dtype)
    position = backend.xp.empty(y.shape, dtype=np.uint8) if with_positions else None
    launch(backend, "pooling", "max_pool", windows, x.shape, y, position, x)
    return y, position


@CUDA.implements("max_pool_gradient")
def max_pool_gradient(
    backend: Any, dy: Array, position: Array, windows: Windows, shape: tuple[int, ...]
) -> Array:
    """For positions in bytes."""
    if not _fit(windows, shape, dy) or (position.dtype, position.shape) != (np.uint8, dy.shape):
        return NotImplemented
    dy, position = backend.xp.ascontiguousarray(dy), backend.xp.ascontiguousarray(position)
    dx = backend.xp.empty(shape, dtype=dy.dtype)
    launch(backend, "pooling", "max_pool_gradient", windows, shape, dx, dy, position)
    return dx


@CUDA.implements("average_pool")
def average_pool(backend: Any, x: Array, windows: Windows) -> Array:
    """For floats."""
    if not fits(windows, x.shape, x):
        return NotImplemented
    x = backend.xp.ascontiguousarray(x)
    y = backend.xp.empty(_pooled(x, windows), dtype=x.dtype)
    share = x.dtype.type(windows.share)
    launch(backend, "pooling", "average_pool", windows, x.shape, y, x, share)
    return y


@CUDA.implements("average_pool_gradient")
def average_pool_gradient(
    backend: Any, dy: Array, windows: Windows, shape: tuple[int, ...]
) -> Array:
    """For floats."""
    if not _fit(windows, shape, dy):
        return NotImplemented
    dy = backend.xp.ascontiguousarray(dy)
    dx = backend.xp.empty(shape, dtype=dy.dtype)
    share = dy.dtype.type(windows.share)
    launch(backend, "pooling", "average_pool_gradient", windows, shape, dx, dy, share)
    return dx


def _pooled(x: Array, windows: Windows) -> tuple[int, ...]:
    """The shape of one value for each window and channel."""
    return (len(x), *windows.counts(x.shape), x.shape[-1])


def _fit(windows: Windows, shape: tuple[int, ...], dy: Array) -> bool:
    """Whether the kernels can take these windows and a gradient that is of their shape."""
    return fits(windows, shape, dy) and dy.shape == (shape[0], *windows.counts(shape), shape[-1])
