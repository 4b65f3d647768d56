"""Signs and their straight-through gradients on the GPU, in one kernel each."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.base import Backend
from minibnn.backend.cuda.kernels import Kernels, floats
from minibnn.backend.implementations import CUDA


@CUDA.implements("binary_sign")
def binary_sign(backend: Any, x: Array) -> Array:
    """For float32 and float64."""
    if not floats(x):
        return NotImplemented
    x = backend.xp.ascontiguousarray(x)
    y = backend.xp.empty_like(x)
    backend.kernels.each("signs", "binary_sign", x.dtype, x.size, (y, x))
    return y


@CUDA.implements("straight_through_gradient")
def straight_through_gradient(backend: Any, dy: Array, x: Array, clip: float) -> Array:
    """For float32 and float64."""
    if not floats(dy, x) or dy.shape != x.shape or not isinstance(clip, float | int):
        return NotImplemented
    dy, x = backend.xp.ascontiguousarray(dy), backend.xp.ascontiguousarray(x)
    dx = backend.xp.empty_like(dy)
    arguments = (dx, dy, x, x.dtype.type(clip))
    backend.kernels.each("signs", "straight_through_gradient", x.dtype, x.size, arguments)
    return dx


class CupySigns(Backend):
    """Part of `CupyBackend`."""

    kernels: Kernels
    # Arrays known to have signs alone, as long as they live, by id.
    _signs: WeakValueDictionary[int, Array]

    def mark_signs(self, a: Array) -> None:
        """Products of two such arrays then go to the tensor cores."""
        self._signs[id(a)] = a

    def known_signs(self, a: Array) -> bool:
        """Whether this very array is known to have signs alone."""
        return self._signs.get(id(a)) is a

    def address(self, a: Array) -> int:
        """Of its first value."""
        return int(a.data.ptr)

    def number(self, value: Any, dtype: Any) -> tuple[Array | None, np.generic]:
        """A number as a kernel takes it: where it stands on the device, or its value."""
        scalar = np.dtype(dtype).type
        return (value, scalar(0)) if isinstance(value, self.array_type) else (None, scalar(value))
