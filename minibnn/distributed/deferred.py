"""Weight quantizers whose backward needs the gradient of the whole batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from minibnn.backend import Array
from minibnn.functions import Function
from minibnn.layers import Layer
from minibnn.layers.weighted import Weighted


class Deferred(Function):
    """A quantizer whose backward is left for later: the gradient stays that of the values.

    Args:
        quantizer: the function itself.
    """

    def __init__(self, quantizer: Function) -> None:
        self.quantizer = quantizer

    def __repr__(self) -> str:
        return f"Deferred({self.quantizer!r})"

    def forward(self, x: Array) -> Array:
        """The quantizer's."""
        return self.quantizer.forward(x)

    def train_forward(self, x: Array) -> Array:
        """The quantizer's."""
        return self.quantizer.train_forward(x)

    def backward(self, dy: Array, x: Array) -> Array:
        """`dy` itself."""
        return dy


@contextmanager
def deferring(models: Iterable[Layer]) -> Iterator[None]:
    """A context in which backward leaves dWq in the place of dW, if the quantizer is not `linear`.

    Such a quantizer's backward of a sum is not the sum of the parts' backwards: `finish` calls it
    on the sum.
    """
    changed = [(layer, layer.weight_quantizer) for model in models for layer in _not_linear(model)]
    try:
        for layer, quantizer in changed:
            layer.weight_quantizer = Deferred(quantizer)
        yield
    finally:
        for layer, quantizer in changed:
            layer.weight_quantizer = quantizer


def finish(model: Layer) -> None:
    """Make dW of dWq, which `deferring` has left in its place."""
    for layer in _not_linear(model):
        grad = layer.weight.grad
        grad[...] = layer.weight_quantizer.backward(grad, layer.weight.data)


def _not_linear(layer: Layer) -> Iterator[Weighted]:
    if isinstance(layer, Weighted) and not layer.weight_quantizer.linear:
        yield layer
    for child in layer.children():
        yield from _not_linear(child)
