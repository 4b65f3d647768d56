"""A recording of what passes through each layer of a network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

from minibnn.backend import Array
from minibnn.layers import Concatenate, DirectFeedback, Layer, Residual, Sequential


@dataclass(eq=False)
class Step:
    """The input, output and gradients of one layer in one pass.

    Attributes:
        path: of the layer, such as ``"2"`` for layer 2 of a Sequential; empty for the model itself.
        layer: the layer of the copy, whose parameters and gradients belong to this pass.
        x: its input.
        y: its output.
        dy: the argument of its backward; None if backward was not called.
        dx: the result of its backward, or None.
    """

    path: str
    layer: Layer
    x: Array
    y: Array
    dy: Array = None
    dx: Array = None


class Recorder:
    """A copy of a model that records what enters and leaves its layers.

    Only the copy runs, so the model's saved state, running statistics and random streams do not
    change. It records layers without children, containers that have shipped arrays of their own,
    and those that compute something from the outputs of their children (`Residual`, `Concatenate`).

    Args:
        model: is copied.
        share: whether the copy shares the model's parameters and buffers. Share them only in passes
            that change none of them, as in evaluation.

    Attributes:
        model: the copy; run it with `forward` and `backward`.
        steps: what was recorded since the last `clear`, in the order in which the calls ended.
        layers: the recorded layers with their paths, in order.
    """

    def __init__(self, model: Layer, *, share: bool = False) -> None:
        self.model = copy.deepcopy(model, _held(model) if share else None)
        self.model.forget()
        self.steps: list[Step] = []
        self.layers = list(_noted("", self.model))
        for path, layer in self.layers:
            # An attribute of the object hides the method of its class.
            layer.forward = self._forward(path, layer, layer.forward)  # type: ignore[method-assign]
            layer.backward = self._backward(layer, layer.backward)  # type: ignore[method-assign]

    def clear(self) -> None:
        """Start again, and release the arrays of earlier passes."""
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


def _held(model: Layer) -> dict[int, Any]:
    """A memo for `copy.deepcopy`: arrays that are shared, and saved state that is dropped."""
    arrays = [a for p in model.parameters() for a in (p.data, p.grad)]
    arrays += [buffer.data for buffer in model.buffers()]
    kept: dict[int, Any] = {id(a): a for a in arrays}
    layers = [model]
    for layer in layers:
        kept[id(layer.saved)] = None
        layers += layer.children()
    return kept


def bytes_a_sample(model: Layer, x: Array) -> tuple[int, int]:
    """The memory that one sample takes in evaluation, measured with a batch of one.

    Returns:
        the most bytes that one layer's input and output take, and the bytes of all outputs.
    """
    sizes: list[tuple[int, int]] = []
    _run_noting(model, x, sizes)
    return max(map(sum, sizes), default=x.nbytes), sum(y for _, y in sizes)


def _run_noting(layer: Layer, x: Array, sizes: list[tuple[int, int]]) -> Array:
    """The layer's output in evaluation; appends the bytes of inputs and outputs to `sizes`."""
    if type(layer).forward in (Sequential.forward, DirectFeedback.forward):
        for child in layer.children():
            x = _run_noting(child, x, sizes)
        return x
    if next(layer.children(), None) is None:
        y = layer.forward(x)
        sizes.append((x.nbytes, y.nbytes))
        return y
    recorder = Recorder(layer, share=True)  # the steps of other containers show only in a recording
    y = recorder.model.forward(x)
    sizes += [(step.x.nbytes, step.y.nbytes) for step in recorder.steps]
    return y


def _noted(path: str, layer: Layer) -> Iterator[tuple[str, Layer]]:
    children = list(layer.named_children())
    for name, child in children:
        yield from _noted(f"{path}.{name}" if path else name, child)
    parameters, buffers = layer.own_parts()
    computes = not children or isinstance(layer, Residual | Concatenate)
    if computes or parameters or any(buffer.ships for buffer in buffers):
        yield path, layer
