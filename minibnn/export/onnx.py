"""Export a packed model as an ONNX graph with the same integer scores."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.export.onnx_graph import MOST_SUM, Digits, Graph, Value, digits_for, import_onnx
from minibnn.packed.bits import unpack_rows
from minibnn.packed.description import describe, interval_end, to_json
from minibnn.packed.errors import PackError
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    IntegerProduct,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
)
from minibnn.packed.model import PackedModel
from minibnn.packed.ranges import Range, constant, range_of, ranges
from minibnn.packed.stages import (
    Binarize,
    CodeStage,
    ConvStage,
    DenseStage,
    HostArray,
    PoolStage,
    Product,
    ScoreStage,
    Stage,
    ThresholdStage,
    size_of,
    sources_of,
)
from minibnn.version import __version__

# The oldest opset in which ArgMax specifies which of two equal maxima it takes, and the oldest file
# format that allows it; both from ONNX 1.7.
OPSET, IR_VERSION = 12, 7


def export_onnx(packed: PackedModel, path: str | os.PathLike[str]) -> None:
    """Write a packed model as an ONNX file, which appears whole or not at all.

    .. code-block:: text

        images   uint8  (N, *input_shape)   pixels as they are: no scaling; or the samples of a
                                            coded input, of the model's input_dtype
        scores   int64  (N, classes)        those of packed.predict_scores
        label    int64  (N,)                the first class with the greatest score; for a
                                            single score 1 if it is at least 0, else 0

    Dense stages with binary weights that take pixels, or bits that nothing else takes, are
    MatMulInteger, which is exact and has instructions on many processors. These bits are 0 and 2,
    unsigned, with a zero point of 1, so that they count as -1 and +1. Larger weights are never
    multiplied so, since some processors saturate sums of two such products at 16 bits.

    All other products and sums of windows are MatMul and Conv in float32, which many more runtimes
    support than integer convolutions. They are exact: all values and partial sums, in any order,
    are integers within 2^24, which float32 represents. That also holds for TensorFloat32, since no
    value has more than 11 bits, but not for runtimes that add in float16 or use Winograd
    convolutions. Where the proven ranges of the values (`minibnn.packed.ranges`) do not keep sums
    or values so small, the values are divided into digits of fewer bits. Each digit has its own
    product, and the products are added as integers. Weights of a row whose sizes add up to more
    than 2^23 may be too large even so, and are refused.

    Numbers between stages are float32, which represents all integers of 16 bits. Fixed-point
    factors and slopes are in int32, or in int64 where the ranges need it; a summand makes all
    dividends positive before they are divided by a power of two, so that quotients are rounded
    down. Max pooling of accumulators is in float32, since MaxPool does not take int32, or in
    float64 if they may exceed 2^24.

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
        PackError: for weights whose sums are too large for float32, and for a model of numbers.
        OSError: if the file cannot be written.
    """
    if packed.numbers:
        raise PackError(
            "export_onnx: expected a model of classes, got one of numbers; use export_c"
        )
    data = _Network(import_onnx(), packed).model().SerializeToString(deterministic=True)
    with whole_file(path) as file:
        file.write(data)


class _Network(Graph):
    """The graph of a packed model.

    Attributes:
        packed: the model.
        at: the number of the stage at hand.
        outputs: of the stages so far, by number; -1 is the input.
        ranges: of all stages' outputs.
    """

    def __init__(self, onnx: Any, packed: PackedModel) -> None:
        dtype = np.dtype(packed.input_dtype).type
        super().__init__(onnx, Value("images", dtype, packed.input_shape))
        self.packed, self.at = packed, 0
        self.outputs = {-1: self.last()}
        self.ranges = ranges(packed.input_shape, packed.stages)

    def add_stages(self) -> None:
        """The nodes, stage by stage."""
        forms: dict[type[Stage], Callable[[Any], None]] = {
            Binarize: self.binarize,
            CodeStage: self.code,
            DenseStage: self.dense,
            ConvStage: self.conv,
            PoolStage: self.pool,
            ThresholdStage: self.threshold,
            ScoreStage: self.scores,
            IntegerDense: self.integer_dense,
            IntegerConv: self.integer_conv,
            SumPoolStage: self.sum_pool,
            LevelStage: self.levels,
            ScaleStage: self.scale,
            SlopeStage: self.slope,
            AddStage: self.add,
            ConcatStage: self.concat,
        }
        for i, stage in enumerate(self.packed.stages):
            self.at, self.prefix = i, f"{i}.{stage.kind}"
            if type(stage) not in forms:
                self.refuse(f"expected a stage that has an ONNX form, got {stage!r}")
            self.go_on_from(self.outputs[sources_of(i, stage)[0]])
            forms[type(stage)](stage)
            self.outputs[i] = self.last()

    def model(self) -> Any:
        """The ONNX model."""
        helper = self.onnx.helper
        self.add_stages()
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

    # --- where values come from, and where they go -----------------------------------------------

    def taken(self, stage: Stage) -> Range:
        """The range of what a stage takes, in the shape in which it takes it."""
        j = sources_of(self.at, stage)[0]
        if j < 0:
            return constant(0, 255, stage.in_shape[-1])
        return self.ranges[j].of_shape(self.packed.stages[j].out_shape, stage.in_shape)

    def in_bytes(self, i: int) -> bool:
        """Whether only MatMulInteger takes the bits of stage `i`, perhaps through pools."""
        return all(
            isinstance(stage, DenseStage) or (isinstance(stage, PoolStage) and self.in_bytes(j))
            for j, stage in enumerate(self.packed.stages)
            if i in sources_of(j, stage)
        )

    def joined(self, stage: Stage, channels: list[int]) -> list[str]:
        """The names of all sources' values, in one layout and in float32."""
        names = []
        for j, n in zip(sources_of(self.at, stage), channels, strict=True):
            self.go_on_from(self.outputs[j])
            self.cast(np.float32)
            self.images_or_rows((*stage.out_shape[:-1], n))
            names.append(self.value)
        self.value = names[0]
        return names[1:]

    # --- bits ------------------------------------------------------------------------------------

    def binarize(self, stage: Binarize) -> None:
        self.cast(np.int32)
        self.compare(np.array(stage.threshold), np.array(stage.falling))

    def code(self, stage: CodeStage) -> None:
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
        self.bits(np.array(False))

    def threshold(self, stage: ThresholdStage) -> None:
        if self.dtype == np.uint8:  # not every runtime compares bytes
            self.cast(np.int32)
        shape = self.by_channel(stage.in_shape, len(stage.thresholds))
        self.compare(stage.thresholds.reshape(shape), stage.falling.reshape(shape))

    def compare(self, thresholds: HostArray, falling: HostArray) -> None:
        """The bits of thresholds.

        ``acc <= t`` is the opposite of ``acc >= t + 1``, so falling channels swap the two values.
        """
        self.at_least("least", thresholds.astype(np.int64) + falling)
        self.bits(falling)

    def bits(self, falling: HostArray) -> None:
        """Conditions as bits: 0 and 2 as uint8 for MatMulInteger, else -1 and +1 as float32.

        Where `falling`, the bit is 1 if the condition does not hold.
        """
        self.dtype = np.uint8 if self.in_bytes(self.at) else np.float32
        plus, minus = (2, 0) if self.dtype == np.uint8 else (1, -1)
        if not falling.any():
            falling = np.array(False)
        above = self.constant("above", np.where(falling, minus, plus), self.dtype)
        below = self.constant("below", np.where(falling, plus, minus), self.dtype)
        self.node("Where", above, below)

    # --- products and windows --------------------------------------------------------------------

    def dense(self, stage: DenseStage) -> None:
        takes = "pixels" if stage.pixels else "bits"
        if self.dtype != np.uint8:
            same = IntegerDense(stage.in_shape, stage.out_shape, _signs(stage), takes)
            self.integer_dense(replace(same, sources=stage.sources))
            return
        self.rows((stage.width,))
        weights = [self.constant("weights", _signs(stage).T, np.int8)]
        if not stage.pixels:
            weights.append(self.constant("zero_point", 1, np.uint8))
        self.node("MatMulInteger", *weights)
        self.dtype, self.shape = np.int32, stage.out_shape

    def integer_dense(self, stage: IntegerDense) -> None:
        self.cast(np.float32)
        self.rows((stage.width,))
        self.product("MatMul", stage.weights.T, self.digits(stage))
        self.shape = stage.out_shape

    def conv(self, stage: ConvStage) -> None:
        """As an integer product."""
        value = stage.border_value if stage.pixels else 2 * stage.border_value - 1
        self.integer_conv(
            IntegerConv(
                stage.in_shape,
                stage.out_shape,
                _signs(stage),
                "pixels" if stage.pixels else "bits",
                stage.size,
                stage.stride,
                stage.dilation,
                stage.border,
                value,
                groups=1,
                sources=stage.sources,
            )
        )

    def sum_pool(self, stage: SumPoolStage) -> None:
        """As a product with ones, each channel a group: AveragePool would divide."""
        channels = stage.in_shape[-1]
        self.integer_conv(
            IntegerConv(
                stage.in_shape,
                stage.out_shape,
                np.ones((channels, size_of(stage.size)), np.int8),
                stage.takes,
                stage.size,
                stage.stride,
                (1, 1),
                ((0, 0), (0, 0)),
                0,
                groups=channels,
                sources=stage.sources,
            )
        )

    def integer_conv(self, stage: IntegerConv) -> None:
        digits = self.digits(stage)
        self.cast(np.float32)
        self.images(stage.in_shape)
        (above, below), (left, right) = stage.border
        pads = [above, left, below, right]
        if any(pads) and stage.border_value != 0:
            ends = self.constant("pads", [0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
            value = self.constant("border", stage.border_value, np.float32)
            self.node("Pad", ends, value, mode="constant")
            pads = [0, 0, 0, 0]
        channels = stage.in_shape[-1] // stage.groups
        kernel = stage.weights.reshape(-1, *stage.size, channels).transpose(0, 3, 1, 2)
        groups = {"group": stage.groups} if stage.groups > 1 else {}
        self.product(
            "Conv",
            kernel,
            digits,
            kernel_shape=stage.size,
            strides=stage.stride,
            dilations=stage.dilation,
            pads=pads,
            **groups,
        )
        height, width, channels = stage.out_shape
        self.shape = channels, height, width

    def digits(self, stage: IntegerProduct) -> Digits:
        """How the product divides the values that it takes."""
        low, high = self.taken(stage)
        sizes = np.maximum(abs(low), abs(high))
        of_sizes = range_of(replace(stage, weights=abs(stage.weights)), [Range(-sizes, sizes)])
        sums = np.maximum(abs(of_sizes.low), of_sizes.high).max()
        border = abs(stage.border_value) if isinstance(stage, IntegerConv) else 0
        weights = int(abs(stage.weights).sum(axis=1, dtype=np.int64).max())
        digits = digits_for(max(int(sizes.max()), border), weights, int(sums))
        if digits is None:
            self.refuse(
                f"expected rows of weights whose sizes add up to at most {MOST_SUM // 2:,}, with "
                f"sums that float32 holds, got {weights:,}; use smaller ones"
            )
        return digits

    def pool(self, stage: PoolStage) -> None:
        if self.dtype not in (np.float32, np.uint8):  # MaxPool takes no larger integers
            exact = self.taken(stage).within(-MOST_SUM, MOST_SUM)
            self.cast(np.float32 if exact else np.float64)
        self.images(stage.in_shape)
        self.node("MaxPool", kernel_shape=stage.size, strides=stage.stride)
        height, width, channels = stage.out_shape
        self.shape = channels, height, width

    # --- numbers ---------------------------------------------------------------------------------

    def levels(self, stage: LevelStage) -> None:
        channels, count = stage.thresholds.shape
        shape = self.by_channel(stage.in_shape, channels)
        # As for bits: falling channels count what is not at least 1 more.
        least = stage.thresholds.astype(np.int64) + stage.falling[:, None]
        values, before = self.last(), ""
        for j in range(count):
            self.go_on_from(values)
            self.at_least(f"least{j}", least[:, j].reshape(shape))
            self.node("Cast", to=self.tensor_type(np.float32))
            if before:
                self.node("Add", before)
            before = self.value
        self.dtype = np.float32
        if stage.falling.any():
            falling = stage.falling.reshape(shape)
            self.node("Mul", self.constant("sign", np.where(falling, -1, 1), np.float32))
            self.node("Add", self.constant("start", np.where(falling, count, 0), np.float32))

    def scale(self, stage: ScaleStage) -> None:
        shape = self.by_channel(stage.in_shape, len(stage.A))
        low, high = (end.reshape(shape) for end in self.taken(stage))
        self.floor_shift(stage.A.reshape(shape), stage.B.reshape(shape), stage.shift, low, high)
        self.cast(np.float32)

    def slope(self, stage: SlopeStage) -> None:
        shape = self.by_channel(stage.in_shape, len(stage.A))
        low, high = (end.reshape(shape) for end in self.taken(stage))
        half = np.full(shape, 1 << (stage.shift - 1), np.int64)
        values = self.last()
        self.floor_shift(stage.A.reshape(shape), half, stage.shift, low, high)
        self.cast(np.float32)
        below = self.value
        self.go_on_from(values)
        self.node("Greater", self.number(0))
        self.node("Where", values.name, below)

    def add(self, stage: AddStage) -> None:
        self.node("Sum", *self.joined(stage, [stage.out_shape[-1]] * len(stage.sources)))

    def concat(self, stage: ConcatStage) -> None:
        others = self.joined(stage, list(stage.parts))
        self.node("Concat", *others, axis=1 if self.channels_first else len(stage.out_shape))
        *image, channels = stage.out_shape
        self.shape = (channels, *image) if self.channels_first else stage.out_shape

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
