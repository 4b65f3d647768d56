"""A function applied to each element."""

from __future__ import annotations

from minibnn.backend import Array
from minibnn.checks import require
from minibnn.functions import Function
from minibnn.layers.base import Layer


class Activation(Layer):
    """``y = f(x)`` for each element; ``dx = f.backward(dy, x)``.

    Shapes: any; y as x.

    Args:
        function: for instance ``SignSTE(clip=1.0)`` or ``ReLU()``.
    """

    def __init__(self, function: Function) -> None:
        self.function = require("Activation", "function", function, Function)

    def __repr__(self) -> str:
        return f"Activation({self.function!r})"

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``f(x)``."""
        self.check_input(x)
        y = self.function.train_forward(x) if train else self.function.forward(x)
        if y.dtype != x.dtype:
            raise TypeError(
                f"{self}: expected the function to keep the dtype {x.dtype}, got {y.dtype}; end "
                "its forward with .astype(x.dtype), or use minibnn.functions.sign"
            )
        if train:
            self.saved = (y.shape, x)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """``f.backward(dy, x)``."""
        (x,) = self.take_saved(dy)
        return self.function.backward(dy, x) if need_dx else None
