"""Layers that change the shape or the scale of the input."""

from __future__ import annotations

import math
from typing import Any

from minibnn.backend import Array, backend_of
from minibnn.checks import number
from minibnn.checks import shape as check_shape
from minibnn.layers.base import Layer


class Flatten(Layer):
    """Flatten each sample to a vector, in row-major order.

    Shapes: x (batch, ...) of any dtype, y (batch, product of the rest).

    >>> import numpy as np
    >>> Flatten().forward(np.zeros((64, 28, 28))).shape
    (64, 784)
    """

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """`x` reshaped to (batch, features)."""
        backend_of(x)  # raises for a list, for instance
        if x.ndim < 2:
            raise ValueError(f"{self}: expected x of shape (batch, ...), got {x.shape}")
        y = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        if train:
            self.saved = (y.shape, x.shape)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """`dy` in the shape that `x` had."""
        (shape,) = self.take_saved(dy)
        return dy.reshape(shape) if need_dx else None


class Reshape(Layer):
    """Give each sample another shape, in row-major order.

    Shapes: x (batch, ...) of any dtype, y ``(batch, *shape)``.

    Args:
        shape: of a sample; ``(28, 28, 1)`` turns images of bytes into images with one channel.

    Raises:
        ValueError: from `forward`, for samples of another size.

    >>> import numpy as np
    >>> Reshape((28, 28, 1)).forward(np.zeros((64, 28, 28), dtype=np.uint8)).shape
    (64, 28, 28, 1)
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = check_shape("Reshape", "shape", shape)
        if not self.shape:
            raise ValueError(f"Reshape: expected a tuple of sizes of at least 1, got {shape!r}")

    def __repr__(self) -> str:
        return f"Reshape({self.shape})"

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """`x` reshaped to ``(batch, *shape)``."""
        backend_of(x)
        if x.ndim < 1 or math.prod(x.shape[1:]) != math.prod(self.shape):
            raise ValueError(
                f"{self}: expected samples of {math.prod(self.shape)} values, got x of shape "
                f"{x.shape}"
            )
        y = x.reshape(x.shape[0], *self.shape)
        if train:
            self.saved = (y.shape, x.shape)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """`dy` in the shape that `x` had."""
        (shape,) = self.take_saved(dy)
        return dy.reshape(shape) if need_dx else None


def rescale(x: Array, scale: float, offset: float, dtype: Any) -> Array:
    """``scale x + offset`` as a new array of `dtype`, for an `x` of integers."""
    y = x.astype(dtype)
    y *= scale
    if offset:
        y += offset
    return y


class Rescale(Layer):
    """``y = scale x + offset``: bytes in, floats out, so that the scaling belongs to the model.

    Integers become the layer's dtype (float32); floats keep their dtype. So data sets can stay
    bytes in memory, four times smaller, and a shipped model includes its scaling.

    Shapes: any; y as x.

    Args:
        scale: ``1 / 255`` takes pixels to [0, 1]; ``2 / 255`` with offset -1 takes them to [-1, 1].
        offset: added after scaling.

    >>> import numpy as np
    >>> Rescale(2 / 255, -1).forward(np.array([[0, 255]], dtype=np.uint8))
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(self, scale: float, offset: float = 0.0) -> None:
        self.scale = float(number("Rescale", "scale", scale))
        self.offset = float(number("Rescale", "offset", offset))

    def __repr__(self) -> str:
        return f"Rescale({self.scale:.6g}" + (f", {self.offset:.6g})" if self.offset else ")")

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``scale x + offset``."""
        backend_of(x)
        if x.dtype.kind in "iub":
            y = self.backend.run(rescale, x, self.scale, self.offset, self.dtype)
        else:
            self.check_input(x)
            y = x * self.scale
            if self.offset:
                y += self.offset
        if train:
            self.note_input(x)
            self.saved = (y.shape,)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """``scale dy``."""
        self.take_saved(dy)
        return dy * self.scale if need_dx else None
