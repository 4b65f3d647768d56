"""What a layer costs: its products, the bits of its values, the numbers that it ships.

If the default cost is wrong for a layer of your own, give the layer a method with the name of the
function, such as ``def output_bits(self, x_bits)``. The function here then calls this method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from minibnn.functions import activation_bits
from minibnn.inspection.recorder import Step
from minibnn.layers import (
    Activation,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    DirectFeedback,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    Reshape,
    Sequential,
)
from minibnn.layers.conv import Convolution
from minibnn.layers.norm import Normalization

_Args = ParamSpec("_Args")


def own_method_first(cost: Callable[_Args, int]) -> Callable[_Args, int]:
    """Make `cost` call the layer's method of the same name instead, if its class has one."""
    name = cost.__name__
    absent = getattr(Layer, name, None)

    @wraps(cost)
    def ask(*args: _Args.args, **kwargs: _Args.kwargs) -> int:
        own: Any = getattr(type(args[0]), name, None)
        return cost(*args, **kwargs) if own is absent else own(*args, **kwargs)

    return ask


@own_method_first
def macs(layer: Layer, y_shape: tuple[int, ...]) -> int:
    """How many products the layer adds up for one sample; 0 if it sums no products.

    Args:
        layer: the layer.
        y_shape: of its output, with or without the batch axis.
    """
    if isinstance(layer, Dense):
        return layer.weight.size
    if isinstance(layer, Conv2D):
        return math.prod(y_shape[-3:-1]) * layer.weight.size  # the whole kernel at each position
    if isinstance(layer, Conv1D):
        return y_shape[-2] * layer.weight.size
    return 0


@own_method_first
def product_bits(layer: Layer, x_bits: int) -> int:
    """How many bits the values that meet a weight take, if the input takes `x_bits`."""
    if isinstance(layer, Convolution) and layer.padding_value == 0 and layer.is_padded:
        return max(x_bits, 2)  # zeros, which are neither +1 nor -1
    return x_bits


@own_method_first
def output_bits(layer: Layer, x_bits: int) -> int:
    """How many bits an output value takes in evaluation, if the input takes `x_bits`."""
    if isinstance(layer, Activation):
        return activation_bits(layer.function)
    if isinstance(layer, Flatten | Reshape | MaxPool2D):  # each output is one of the inputs
        return x_bits
    if isinstance(layer, Dropout) and (layer.rescale or not layer.rate):
        return x_bits  # in evaluation it changes nothing
    if isinstance(layer, Concatenate):
        return max(output_bits(branch, x_bits) for branch in layer.branches)
    if type(layer).forward in (Sequential.forward, DirectFeedback.forward):
        for child in layer.children():
            x_bits = output_bits(child, x_bits)
        return x_bits
    return 32


@own_method_first
def shipped_floats(layer: Layer) -> int:
    """How many 32-bit numbers of its own the layer needs in evaluation, beside quantized weights.

    The numbers of its children do not count.
    """
    if isinstance(layer, Normalization):
        return 2 * layer.channels  # all its arrays fold into ``y = a x + c``
    parameters, buffers = layer.own_parts()
    quantized = {id(parameter) for _, parameter, _ in layer.named_quantized()}
    size: int = sum(p.size for p in parameters if id(p) not in quantized)
    size += sum(b.data.size for b in buffers if b.ships and b.data is not None)
    return size


def value_bits(steps: list[Step]) -> dict[int, int]:
    """How many bits a value takes in each array of one pass, by ``id(array)``; 32 if not listed.

    This follows from the layers that made the arrays, not from the values that a sample happens to
    have. An array that no layer returned, such as a sum inside a container, is not listed and
    counts as real numbers.
    """
    bits: dict[int, int] = {}
    for step in steps:
        # A layer may return its input itself, whose bits are known already.
        bits.setdefault(id(step.y), output_bits(step.layer, bits.get(id(step.x), 32)))
    return bits
