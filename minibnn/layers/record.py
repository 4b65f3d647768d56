"""What passes through each layer of a network, noted down."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps

from minibnn.backend import Array
from minibnn.layers.base import Layer


@dataclass(eq=False)
class Step:
    """What went through one layer.

    Attributes:
        path: the layer's, such as ``"2"`` for layer 2 of a Sequential; empty for the model itself.
        layer: the copy's layer, whose parameters and gradients belong to this pass.
        x: its input.
        y: its output.
        dy: the gradient that came to its backward; None before, and where backward was not called.
        dx: the gradient that its backward gave, or None.
    """

    path: str
    layer: Layer
    x: Array
    y: Array
    dy: Array = None
    dx: Array = None


class Recorder:
    """A copy of a model that notes what enters and leaves its layers.

    Only the copy runs, so the model keeps its saved state, its running statistics and its draws.
    Noted are the layers without children, and containers with arrays of their own that ship.

    Attributes:
        model: the copy; run it with `forward` and `backward`.
        steps: of the passes since the last `clear`, in the order in which they ended.
        layers: what is noted, with its path, in order.
    """

    def __init__(self, model: Layer) -> None:
        self.model = copy.deepcopy(model)
        self.model.forget()
        self.steps: list[Step] = []
        self.layers = list(_noted("", self.model))
        for path, layer in self.layers:
            # An attribute of the object hides the method of its class.
            layer.forward = self._forward(path, layer, layer.forward)  # type: ignore[method-assign]
            layer.backward = self._backward(layer, layer.backward)  # type: ignore[method-assign]

    def clear(self) -> None:
        """Begin anew; the passes' arrays are let go."""
        self.steps = []

    def _forward(
        self, path: str, layer: Layer, forward: Callable[..., Array]
    ) -> Callable[..., Array]:
        @wraps(forward)
        def noting(x: Array, *, train: bool = False) -> Array:
            y = forward(x, train=train)
            self.steps.append(Step(path, layer, x, y))
            return y

        return noting

    def _backward(self, layer: Layer, backward: Callable[..., Array]) -> Callable[..., Array]:
        @wraps(backward)
        def noting(dy: Array, *, need_dx: bool = True) -> Array:
            dx = backward(dy, need_dx=need_dx)
            for step in reversed(self.steps):
                if step.layer is layer:
                    step.dy, step.dx = dy, dx
                    break
            return dx

        return noting


def _noted(path: str, layer: Layer) -> Iterator[tuple[str, Layer]]:
    children = list(layer.named_children())
    for name, child in children:
        yield from _noted(f"{path}.{name}" if path else name, child)
    parameters, buffers = layer.own_parts()
    if not children or parameters or any(buffer.ships for buffer in buffers):
        yield path, layer


def value_bits(steps: list[Step]) -> dict[int, int]:
    """How many bits a value takes in each array of one pass, by ``id(array)``; 32 if not listed.

    It follows from the layers that made the arrays, not from values that a sample happens to have.
    An array is known by its identity, so what a container computes between its layers counts as
    real numbers.
    """
    bits: dict[int, int] = {}
    for step in steps:
        # A layer may hand on its input itself, which then stays what it was.
        bits.setdefault(id(step.y), step.layer.output_bits(bits.get(id(step.x), 32)))
    return bits
