"""Export a packed model as an ONNX graph with the same integer scores."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.packed.bits import unpack_rows
from minibnn.packed.description import describe, interval_end, to_json
from minibnn.packed.errors import PackError
from minibnn.packed.model import PackedModel
from minibnn.packed.stages import (
    Binarize,
    CodeStage,
    ConvStage,
    DenseStage,
    HostArray,
    PoolStage,
    Product,
    ScoreStage,
    Shape,
    Stage,
    ThresholdStage,
    size_of,
)
from minibnn.version import __version__

# The oldest opset in which ArgMax specifies which of two equal maxima it takes, and the oldest file
# format that allows it; both from ONNX 1.7.
OPSET, IR_VERSION = 12, 7
WHOLE = 2**24  # float32 represents every integer up to this


def export_onnx(packed: PackedModel, path: str | os.PathLike[str]) -> None:
    """Write a packed model as an ONNX file, which appears whole or not at all.

    .. code-block:: text

        images   uint8  (N, *input_shape)   pixels as they are: no scaling; or the samples of a
                                            coded input, of the model's input_dtype
        scores   int64  (N, classes)        those of packed.predict_scores
        label    int64  (N,)                the first class with the greatest score; for a
                                            single score 1 if it is at least 0, else 0

    Dense stages are MatMulInteger, which is exact and has instructions on many processors. Bits are
    0 and 2, unsigned, with a zero point of 1, so that they count as -1 and +1. Convolutions are
    Conv in float32, which many more runtimes support than ConvInteger; max pooling of accumulators
    is in float32, too, since MaxPool does not take int32. Both are exact: all values and partial
    sums, in any order, are integers within 2^24, which float32 represents. That also holds for
    TensorFloat32 (a pixel has 8 bits), but not for runtimes that add in float16 or use Winograd
    convolutions. Windows of more than 65,792 pixels may exceed 2^24 and are refused.

    An input code is a Gather of features and one or two comparisons for each bit. Integers become
    int32 first, since not every runtime compares smaller ones; floats are compared as they are, so
    infinities, subnormal numbers and nan (whose bits are 0) are exact where the runtime follows
    IEEE 754. ONNX Runtime does, unless told to flush subnormal numbers.

    The graph needs opset 12 (ONNX 1.7, 2020) or later. That opset has no type of one bit, so
    weights are int8: 8 times the size of packed weights, and a quarter of the size of floats. The
    metadata has ``format``, ``minibnn`` (the version), ``architecture`` (JSON, the stages without
    their arrays) and ``sha256`` (`PackedModel.sha256`), and, if the model has them,
    ``feature_names`` and ``class_names`` (JSON lists). One model gives the same bytes every time.

    Args:
        packed: the model.
        path: of the file.

    Raises:
        ImportError: if the package onnx is missing.
        PackError: for a convolution whose windows are too large.
        OSError: if the file cannot be written.
    """
    data = _Graph(_onnx(), packed).model().SerializeToString(deterministic=True)
    with whole_file(path) as file:
        file.write(data)


def _onnx() -> Any:
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise ImportError("export_onnx needs onnx: pip install onnx") from error


class _Graph:
    """The nodes so far, and the layout of the last one's values.

    Attributes:
        value: the last node's name.
        dtype: of the values.
        shape: the shape of a sample.
        channels_first: whether that is (channels, rows, columns), as in ONNX, instead of channels
            last, as in packed models.
    """

    def __init__(self, onnx: Any, packed: PackedModel) -> None:
        self.onnx, self.packed = onnx, packed
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.value, self.shape = "images", packed.input_shape
        self.dtype: Any = np.dtype(packed.input_dtype).type
        self.channels_first = False
        self.prefix = ""

    def model(self) -> Any:
        """The ONNX model, stage by stage."""
        helper = self.onnx.helper
        for i, stage in enumerate(self.packed.stages):
            self.prefix = f"{i}.{stage.kind}"
            if isinstance(stage, Binarize):
                self.binarize(stage, self.consumer(i))
            elif isinstance(stage, CodeStage):
                self.code(stage, self.consumer(i))
            elif isinstance(stage, DenseStage):
                self.dense(stage)
            elif isinstance(stage, ConvStage):
                self.conv(stage)
            elif isinstance(stage, PoolStage):
                self.pool(stage)
            elif isinstance(stage, ThresholdStage):
                self.threshold(stage, self.consumer(i))
            elif isinstance(stage, ScoreStage):
                self.scores(stage)
            else:
                self.refuse(f"expected a stage that has an ONNX form, got {stage!r}")
        integer = self.onnx.TensorProto.INT64
        dtype = np.dtype(self.packed.input_dtype)
        coded = isinstance(self.packed.stages[0], CodeStage)
        samples = f"samples of {dtype}" if coded else "pixels of uint8"
        says = "the first class with the greatest score"
        if self.packed.classes == 1:
            says = "1 if the score is at least 0, else 0"
        tensor = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "minibnn",
            [tensor("images", self.tensor_type(dtype), ["N", *self.packed.input_shape])],
            [
                tensor("scores", integer, ["N", self.packed.classes]),
                tensor("label", integer, ["N"]),
            ],
            list(self.constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="minibnn",
            producer_version=__version__,
            doc_string=(
                f"A binary network. images: {samples}, not scaled. scores: integers, equal to "
                f"those of the packed model. label: {says}."
            ),
        )
        helper.set_model_props(model, _metadata(self.packed))
        return model

    def refuse(self, why: str) -> None:
        raise PackError(f"export_onnx: stage {self.prefix}: {why}")

    def consumer(self, i: int) -> Stage:
        """The product that takes the output of stage `i`, perhaps through pools."""
        return next(s for s in self.packed.stages[i + 1 :] if isinstance(s, Product))

    # --- nodes -----------------------------------------------------------------------------------

    def node(self, op: str, *more: str, output: str = "", **attributes: Any) -> None:
        """Add a node that takes the last value, and then the constants in `more`."""
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

    def cast(self, dtype: Any) -> None:
        """Cast the values, unless they have this dtype."""
        if self.dtype != dtype:
            self.node("Cast", to=self.tensor_type(dtype))
            self.dtype = dtype

    def tensor_type(self, dtype: Any) -> int:
        """ONNX's number of a NumPy dtype."""
        number: int = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return number

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

    def reshape(self, shape: Shape) -> None:
        if self.shape != shape:
            # 0 keeps the batch size; with -1, an empty batch would be ambiguous.
            self.node("Reshape", self.constant(f"shape{len(self.nodes)}", [0, *shape], np.int64))
            self.shape = shape

    # --- stages ----------------------------------------------------------------------------------

    def binarize(self, stage: Binarize, consumer: Stage) -> None:
        self.cast(np.int32)
        self.compare(np.array(stage.threshold), np.array(stage.falling), consumer)

    def code(self, stage: CodeStage, consumer: Stage) -> None:
        """Compare, with one end only where the other end of every interval is open."""
        if self.dtype != np.float32:
            self.cast(np.int32)
        self.rows(stage.in_shape)
        features = self.constant("feature", stage.feature, np.int64)
        self.node("Gather", features, axis=len(stage.in_shape))
        self.shape = stage.out_shape
        values, holds = self.value, []
        open_ = {end: (getattr(stage, end) == interval_end(stage.low.dtype, end)).all()
                 for end in ("low", "high")}  # fmt: skip
        for op, end in (("GreaterOrEqual", "low"), ("LessOrEqual", "high")):
            if open_[end] and not (end == "low" and open_["high"]):  # nan takes a comparison
                continue
            self.value = values
            self.node(op, self.constant(end, getattr(stage, end), self.dtype))
            holds.append(self.value)
        if len(holds) == 2:
            self.value = holds[0]
            self.node("And", holds[1])
        self.bits(np.array(False), consumer)

    def threshold(self, stage: ThresholdStage, consumer: Stage) -> None:
        channels = len(stage.thresholds)
        height_width_channels = (*self.shape[1:], self.shape[0])
        shape: Shape = (channels,)
        if self.channels_first and stage.in_shape == height_width_channels:
            shape = (channels, 1, 1)
        elif self.channels_first or self.shape[-1] != channels:
            self.rows((size_of(stage.in_shape) // channels, channels))
        self.compare(stage.thresholds.reshape(shape), stage.falling.reshape(shape), consumer)

    def compare(self, thresholds: HostArray, falling: HostArray, consumer: Stage) -> None:
        """The bits of thresholds.

        ``acc <= t`` is the opposite of ``acc >= t + 1``, so falling channels swap the two values.
        """
        least = thresholds.astype(np.int64) + falling
        self.node("GreaterOrEqual", self.constant("least", least, self.dtype))
        self.bits(falling, consumer)

    def bits(self, falling: HostArray, consumer: Stage) -> None:
        """Conditions as the consumer takes bits: 0 and 2 as uint8, or -1 and +1 as float32.

        Where `falling`, the bit is 1 if the condition does not hold.
        """
        floats = isinstance(consumer, ConvStage)
        self.dtype = np.float32 if floats else np.uint8
        plus, minus = (1, -1) if floats else (2, 0)
        if not falling.any():
            falling = np.array(False)
        above = self.constant("above", np.where(falling, minus, plus), self.dtype)
        below = self.constant("below", np.where(falling, plus, minus), self.dtype)
        self.node("Where", above, below)

    def dense(self, stage: DenseStage) -> None:
        self.rows((stage.width,))
        weights = [self.constant("weights", _signs(stage).T, np.int8)]
        if not stage.pixels:
            weights.append(self.constant("zero_point", 1, np.uint8))
        self.node("MatMulInteger", *weights)
        self.dtype, self.shape = np.int32, stage.out_shape

    def conv(self, stage: ConvStage) -> None:
        largest = 255 * stage.width if stage.pixels else stage.width
        if largest + 2 > WHOLE:  # an unreachable threshold is 1 beyond the sums, or 2 if falling
            self.refuse(
                f"expected windows of at most {(WHOLE - 2) // 255:,} pixels, whose sums float32 "
                f"holds, got {stage.width:,}; use smaller ones"
            )
        self.cast(np.float32)
        self.images(stage.in_shape)
        (above, below), (left, right) = stage.border
        value = stage.border_value if stage.pixels else 2 * stage.border_value - 1
        pads = [above, left, below, right]
        if any(pads) and value != 0:
            ends = self.constant("pads", [0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
            self.node("Pad", ends, self.constant("border", value, np.float32), mode="constant")
            pads = [0, 0, 0, 0]
        channels = stage.in_shape[-1]
        kernel = _signs(stage).reshape(-1, *stage.size, channels).transpose(0, 3, 1, 2)
        images, self.value = self.value, self.constant("weights", kernel, np.int8)
        self.dtype = np.int8
        self.cast(np.float32)
        weights, self.value = self.value, images
        self.node(
            "Conv",
            weights,
            kernel_shape=stage.size,
            strides=stage.stride,
            dilations=stage.dilation,
            pads=pads,
        )
        height, width, channels = stage.out_shape
        self.shape = channels, height, width

    def pool(self, stage: PoolStage) -> None:
        if self.dtype == np.int32:
            self.cast(np.float32)  # sums of bits are exact in it, see `export_onnx`
        self.images(stage.in_shape)
        self.node("MaxPool", kernel_shape=stage.size, strides=stage.stride)
        height, width, channels = stage.out_shape
        self.shape = channels, height, width

    def scores(self, stage: ScoreStage) -> None:
        self.rows((len(stage.A),))
        self.cast(np.int64)
        self.node("Mul", self.constant("A", stage.A, np.int64))
        self.node("Add", self.constant("B", stage.B, np.int64), output="scores")
        if len(stage.A) > 1:
            self.node("ArgMax", axis=1, keepdims=0, select_last_index=0, output="label")
            return
        self.node("GreaterOrEqual", self.constant("zero", np.zeros((), np.int64), np.int64))
        self.node("Cast", to=self.onnx.TensorProto.INT64)
        self.node("Reshape", self.constant("line", np.array([-1]), np.int64), output="label")


def _signs(stage: Product) -> HostArray:
    """The weights (channels, width) as +1 and -1."""
    signs: HostArray = unpack_rows(stage.weights, stage.width).view(np.int8)
    signs *= 2
    signs -= 1
    return signs


def _metadata(packed: PackedModel) -> dict[str, str]:
    names = {"feature_names": packed.feature_names, "class_names": packed.class_names}
    return {
        "format": "minibnn-onnx",
        "minibnn": __version__,
        "architecture": to_json(describe(packed.interface, packed.stages)),
        "sha256": packed.sha256,
        **{key: to_json(list(value)) for key, value in names.items() if value is not None},
    }
