"""The nodes of an ONNX graph: layouts, casts, and arithmetic on integers that stays exact.

A tensor of the graph has the layout that its node gives it: channels first after a convolution,
row-major as in packed models elsewhere. `Graph.rows` and `Graph.images` change it where needed.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from minibnn.packed.errors import PackError
from minibnn.packed.stages import HostArray, Shape, size_of

WHOLE = 2**24  # float32 represents every integer up to this
# Of any partial sum, so that a threshold just beyond the sums is exact, too: an unreachable one is
# 1 beyond them, or 2 if falling.
MOST_SUM = WHOLE - 2
DIGIT_BITS = 11  # TensorFloat32 represents every integer of so many bits


def import_onnx() -> Any:
    """The package onnx."""
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise ImportError("export_onnx needs onnx: pip install onnx") from error


class Value(NamedTuple):
    """A tensor of the graph.

    Attributes:
        name: of the node that gives it.
        dtype: of the values.
        shape: the shape of a sample.
        channels_first: whether that is (channels, rows, columns), as in ONNX, instead of channels
            last, as in packed models.
    """

    name: str
    dtype: Any
    shape: Shape
    channels_first: bool = False


@dataclass(frozen=True)
class Digits:
    """How a product divides the integers that it takes, so that float32 holds all sums.

    Attributes:
        count: of the digits: x is the sum of ``digit[j] 2^(bits j)``.
        bits: of each digit; all are from 0 to ``2^bits - 1``, except that the last one has a sign.
        dtype: in which the digits' products are added.
    """

    count: int
    bits: int
    dtype: Any


def digits_for(largest: int, weights: int, sums: int) -> Digits | None:
    """The digits of a product, or None if even digits of one bit are too large.

    Args:
        largest: the largest size of a value that the product takes.
        weights: the largest sum of the sizes of a row of weights.
        sums: the largest size of a partial sum, in any order.
    """
    if sums <= MOST_SUM and largest <= 2**DIGIT_BITS:
        return Digits(1, DIGIT_BITS, np.float32)
    bits = min(DIGIT_BITS, (MOST_SUM // max(weights, 1)).bit_length() - 1)
    if bits < 1:
        return None
    count = -(-(largest - 1).bit_length() // bits)
    most = sums + 2**bits * weights  # of the sum of all products but the last
    dtype = np.float32 if most <= MOST_SUM else np.int32 if most < 2**31 else np.int64
    return Digits(count, bits, dtype)


class Graph:
    """The nodes so far, and the value that the next node takes.

    Attributes:
        value: the name of the last node.
        dtype, shape, channels_first: of its values; see `Value`.
        prefix: of the names of new nodes and constants.
    """

    def __init__(self, onnx: Any, first: Value) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.prefix = ""
        self.go_on_from(first)

    def go_on_from(self, value: Value) -> None:
        """Let the next node take this value."""
        self.value, self.dtype, self.shape, self.channels_first = value

    def last(self) -> Value:
        """The value that the next node takes."""
        return Value(self.value, self.dtype, self.shape, self.channels_first)

    def refuse(self, why: str) -> NoReturn:
        """Raise PackError for the stage at hand."""
        raise PackError(f"export_onnx: stage {self.prefix}: {why}")

    def node(self, op: str, *more: str, output: str = "", **attributes: Any) -> None:
        """Add a node that takes the last value, and then the values in `more`."""
        name = f"{self.prefix}.{len(self.nodes)}.{op}"
        inputs, self.value = [self.value, *more], output or name
        make = self.onnx.helper.make_node
        self.nodes.append(make(op, inputs, [self.value], name=name, **attributes))

    def constant(self, name: str, values: Any, dtype: Any) -> str:
        """Add a constant array, and return its name."""
        name = f"{self.prefix}.{name}"
        array = np.ascontiguousarray(np.asarray(values, dtype).astype(np.dtype(dtype)))
        self.constants[name] = self.onnx.numpy_helper.from_array(array, name)
        return name

    def number(self, value: int | float) -> str:
        """Add a constant number of the last value's dtype, and return its name."""
        return self.constant(f"number{len(self.nodes)}", value, self.dtype)

    def cast(self, dtype: Any) -> None:
        """Cast the values, unless they have this dtype."""
        if self.dtype != dtype:
            self.node("Cast", to=self.tensor_type(dtype))
            self.dtype = dtype

    def tensor_type(self, dtype: Any) -> int:
        """ONNX's number of a NumPy dtype."""
        number: int = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return number

    # --- layouts ---------------------------------------------------------------------------------

    def rows(self, shape: Shape) -> None:
        """Bring the values into this shape, in row-major order with channels last."""
        if self.channels_first:
            channels, *image = self.shape
            if channels > 1 and size_of(tuple(image)) > 1:
                self.node("Transpose", perm=[0, 2, 3, 1])
                self.shape = *image, channels
            self.channels_first = False
        self.reshape(shape)

    def images(self, shape: Shape) -> None:
        """Bring images of the shape (rows, columns, channels) into channels-first order."""
        height, width, channels = shape
        if self.channels_first and self.shape == (channels, height, width):
            return
        if channels == 1 or height * width == 1:  # in the same order
            self.rows((channels, height, width))
        else:
            self.rows(shape)
            self.node("Transpose", perm=[0, 3, 1, 2])
        self.shape, self.channels_first = (channels, height, width), True

    def images_or_rows(self, shape: Shape) -> None:
        """`images` if the shape is that of images, else `rows`."""
        if len(shape) == 3:
            self.images(shape)
        else:
            self.rows(shape)

    def by_channel(self, in_shape: Shape, channels: int) -> Shape:
        """Bring values of this shape into one with an axis of channels.

        Returns:
            the shape in which an array (channels,) has the same axis.
        """
        height_width_channels = (*self.shape[1:], self.shape[0])
        if self.channels_first and in_shape == height_width_channels:
            return channels, 1, 1
        if self.channels_first or self.shape[-1] != channels:
            self.rows((size_of(in_shape) // channels, channels))
        return (channels,)

    def reshape(self, shape: Shape) -> None:
        """Give the values this shape, in the same order."""
        if self.shape != shape:
            # 0 keeps the batch size; with -1, an empty batch would be ambiguous.
            self.node("Reshape", self.constant(f"shape{len(self.nodes)}", [0, *shape], np.int64))
            self.shape = shape

    # --- arithmetic ------------------------------------------------------------------------------

    def at_least(self, name: str, least: HostArray) -> None:
        """Compare with constant integers."""
        if self.dtype == np.int32 and least.max(initial=0) >= 2**31:
            self.cast(np.int64)
        self.node("GreaterOrEqual", self.constant(name, least, self.dtype))

    def product(self, op: str, weights: HostArray, digits: Digits, **attributes: Any) -> None:
        """A product of float32 with weights of int8, digit by digit."""
        values, self.value = self.value, self.constant("weights", weights, np.int8)
        self.dtype = np.int8
        self.cast(np.float32)
        weights_name, self.value = self.value, values
        parts = []
        for _ in range(digits.count - 1):
            rest = self.value
            self.node("Mul", self.number(2.0**-digits.bits))
            self.node("Floor")
            above = self.value
            self.node("Mul", self.number(-(2.0**digits.bits)))
            self.node("Add", rest)
            parts.append(self.value)
            self.value = above
        self.node(op, weights_name, **attributes)
        self.cast(digits.dtype)
        for part in reversed(parts):
            self.node("Mul", self.number(2**digits.bits))
            above, self.value, self.dtype = self.value, part, np.float32
            self.node(op, weights_name, **attributes)
            self.cast(digits.dtype)
            self.node("Add", above)

    def floor_shift(
        self, A: HostArray, B: HostArray, shift: int, low: HostArray, high: HostArray
    ) -> None:
        """The integers ``floor((A v + B) / 2^shift)``.

        ONNX's Div rounds towards 0, and its BitShift has no sign, so a summand makes all
        quotients positive.

        Args:
            A: the factors, in a shape that goes with the values.
            B: the summands, likewise.
            shift: the exponent.
            low: the least value that v can have, (1,) or for each channel, in the shape of A.
            high: the greatest value.
        """
        products = A * low, A * high
        least = int((np.minimum(*products) + B).min())
        above = max(0, -(least >> shift)) if shift > 0 else 0
        B = B + (above << shift)
        ends = [*products, *(p + B for p in products), A, B, np.array([1 << shift]), low, high]
        dtype = np.int32 if max(int(abs(end).max()) for end in ends) < 2**31 else np.int64
        self.cast(dtype)
        self.node("Mul", self.constant("A", A, dtype))
        self.node("Add", self.constant("B", B, dtype))
        if shift > 0:
            self.node("Div", self.number(1 << shift))
        if above > 0:
            self.node("Sub", self.number(above))
