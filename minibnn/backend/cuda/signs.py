"""Signs and their straight-through gradients on the GPU, in one kernel each."""

from __future__ import annotations

from typing import Any

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import floats
from minibnn.backend.implementations import CUDA


@CUDA.implements("binary_sign")
def binary_sign(backend: Any, x: Array) -> Array:
    """For float32 and float64."""
    if not floats(x):
        return NotImplemented
    y = backend.xp.empty(x.shape, x.dtype)
    x = backend.xp.ascontiguousarray(x)
    backend.kernels.each("signs", "binary_sign", x.dtype, x.size, (y, x))
    return y


@CUDA.implements("straight_through_gradient")
def straight_through_gradient(backend: Any, dy: Array, x: Array, clip: float) -> Array:
    """For float32 and float64."""
    if not floats(dy, x) or dy.shape != x.shape or not isinstance(clip, float | int):
        return NotImplemented
    dx = backend.xp.empty(x.shape, x.dtype)
    dy, x = backend.xp.ascontiguousarray(dy), backend.xp.ascontiguousarray(x)
    arguments = (dx, dy, x, x.dtype.type(clip))
    backend.kernels.each("signs", "straight_through_gradient", x.dtype, x.size, arguments)
    return dx
