"""Lower a model to a plan: which layers become which stage, and which cannot be packed."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import NoReturn

import numpy as np

from minibnn.backend import CPU
from minibnn.encoding import OneHotCode, Standardize, Thermometer
from minibnn.encoding.base import Fitted, InputCode
from minibnn.layers import (
    Activation,
    BatchNorm,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    MaxPool2D,
    PReLU,
    Rescale,
    Reshape,
    Residual,
    ShiftBatchNorm,
    TensorNorm,
)
from minibnn.layers.conv import Convolution
from minibnn.layers.weighted import Weighted
from minibnn.packed.bits import pack_rows
from minibnn.packed.compile.codes import code_stage
from minibnn.packed.compile.fold import Fold
from minibnn.packed.compile.plan import Plan, Sign, is_sign, layers_of, quantizer_flaw
from minibnn.packed.errors import PackError
from minibnn.packed.stages import (
    Binarize,
    ConvStage,
    DenseStage,
    HostArray,
    PoolStage,
    Product,
    Shape,
    Stage,
)
from minibnn.windows import Windows

# Compared exactly, since a subclass may compute anything.
_KINDS = (
    Activation, BatchNorm, Conv1D, Conv2D, Dense, Dropout, Flatten, MaxPool2D, OneHotCode, Rescale,
    Reshape, ShiftBatchNorm, Standardize, TensorNorm, Thermometer,
)  # fmt: skip
PACKABLE = (
    "packable are Flatten, Reshape, Rescale, Standardize, Thermometer, OneHotCode (these first), "
    "Dropout, Dense, Conv2D and Conv1D with binary weights, MaxPool2D, BatchNorm, TensorNorm, "
    "ShiftBatchNorm, and Activation of a sign"
)


def lower(model: Layer, input_shape: Shape, dtype: str = "uint8") -> Plan:
    """The plan of a model on the CPU, for inputs of this dtype.

    Raises:
        PackError: for layers that cannot be packed, by name: all that have no packed form
            wherever they are, and the first that has none in its place.
    """
    try:
        return _lower(model, input_shape, dtype)
    except PackError as error:
        found = [str(error), *(o for o in _obstacles(model, input_shape, dtype) if o != str(error))]
    if len(found) == 1:
        raise PackError(found[0])
    listed = "\n".join(f"  {text.removeprefix('pack: ')}" for text in found)
    raise PackError(f"pack: {len(found)} obstacles:\n{listed}")


def _obstacles(model: Layer, input_shape: Shape, dtype: str) -> list[str]:
    """What keeps each layer from being packed, whatever the others are."""
    lowering, found = _Lowering(input_shape, dtype), []
    for path, layer in layers_of(model):
        lowering.where = f"layer {path or 0}, {layer}"
        try:
            lowering.look_at(layer)
            if type(layer) in (Dense, Conv2D, Conv1D):
                lowering.weights(layer)  # type: ignore[arg-type]
        except PackError as error:
            found.append(str(error))
    return found


def _lower(model: Layer, input_shape: Shape, dtype: str) -> Plan:
    lowering = _Lowering(input_shape, dtype)
    for count, (path, layer) in enumerate(layers_of(model), start=1):
        lowering.where = f"layer {path or 0}, {layer}"
        lowering.look_at(layer)
        lowering.take(layer)
        if type(layer) is Activation and lowering.after_product:
            lowering.note_sign(count)  # after the pools that were delayed until this sign
    return lowering.finish()


class _Lowering:
    """The plan so far, and the values after it.

    Attributes:
        holds: their kind: pixels, bits or acc.
        shape: of a sample.
        where: the current layer, for messages.
        dtype: of the input.
        front: layers that take each value of the input alone.
        rescales: those of them that rescale pixels, together ``scale pixel + offset``.
        fold: the layers since the last product, up to the next sign; None before a product.
        later: pools after a batch norm, which the program runs after the threshold.
        after_product: whether the last sign follows a product.
    """

    def __init__(self, input_shape: Shape, dtype: str) -> None:
        self.shape = input_shape
        self.dtype = dtype
        self.front: list[Rescale | Standardize] = []
        self.holds = "pixels"
        self.where = ""
        self.plan = Plan()
        self.rescales: list[Rescale] = []
        self.scale, self.offset = Fraction(1), Fraction(0)
        self.fold: Fold | None = None
        self.later: list[Stage] = []
        self.after_product = False

    def refuse(self, why: str, hint: str = PACKABLE) -> NoReturn:
        raise PackError(f"pack: {self.where}: {why}; {hint}")

    def look_at(self, layer: Layer) -> None:
        """Refuse a layer that has no packed form wherever it is."""
        kind = type(layer)
        if isinstance(layer, Rescale) and kind is Rescale:
            if not (math.isfinite(layer.scale) and math.isfinite(layer.offset)):
                self.refuse("expected finite numbers", "write Rescale(1 / 255)")
        elif isinstance(layer, Fitted) and kind in (Standardize, Thermometer, OneHotCode):
            if not layer.fitted:
                self.refuse("it is not fitted", "call fit_codes(model, x), and train the model")
        elif isinstance(layer, Dropout) and kind is Dropout:
            if layer.rate and not layer.rescale:
                self.refuse("scales in evaluation", "Dropout(rate) scales in training instead")
        elif isinstance(layer, Activation) and kind is Activation:
            if not is_sign(layer.function, layer.dtype):
                self.refuse(
                    "its values are not those of a sign, -1 below 0 and else +1",
                    "packable are SignSTE, ApproxSign, SwishSign, AdaSTE and what else has such "
                    "values",
                )
        elif isinstance(layer, Conv2D | Conv1D) and kind in (Conv2D, Conv1D):
            if layer.windows.groups != 1:
                self.refuse(f"{layer.windows.groups} groups", "packable is one group")
        elif kind not in _KINDS:
            self.refuse_layer(kind)

    def take(self, layer: Layer) -> None:
        """Add a layer that passed `look_at`."""
        if isinstance(layer, Flatten | Reshape):
            self.reshape(layer)
        elif isinstance(layer, Rescale):
            self.rescale(layer)
        elif isinstance(layer, Standardize):
            self.standardize(layer)
        elif isinstance(layer, InputCode):
            self.code(layer)
        elif isinstance(layer, Activation):
            self.activate(layer)
        elif isinstance(layer, Dense):
            self.dense(layer)
        elif isinstance(layer, Conv2D | Conv1D):
            self.conv(layer)
        elif isinstance(layer, MaxPool2D):
            self.pool(layer)
        elif isinstance(layer, BatchNorm | ShiftBatchNorm):
            self.normalize(layer)

    def refuse_layer(self, kind: type[Layer]) -> NoReturn:
        """Refuse a layer that has no packed form, with what to use in its place."""
        between = "and a packed model has only signs between its products"
        if kind is Residual:
            self.refuse(
                f"it adds real numbers, {between}",
                "put its block there, without the shortcut, and train that",
            )
        if kind is Concatenate:
            self.refuse(
                "it has branches, and a packed model is one line of layers",
                "put one branch there, with as many outputs, and train that",
            )
        if kind is GlobalAveragePool2D:
            self.refuse(
                f"its means are real numbers, {between}",
                "put Flatten() there, and a Dense with an input for each value, and train that",
            )
        if kind is PReLU:
            self.refuse(
                f"its outputs are real numbers, {between}",
                "leave it out, since a sign behind it gives the same for every positive slope",
            )
        self.refuse(f"expected a layer that has a packed form, got {kind.__name__}")

    def reshape(self, layer: Flatten | Reshape) -> None:
        """Change the shape; for accumulators it must keep the channels, the last axis."""
        n = math.prod(self.shape)
        shape = (n,) if isinstance(layer, Flatten) else layer.shape
        if math.prod(shape) != n:
            size = math.prod(shape)
            self.refuse(f"expected samples of {size} values, got {self.shape}", _give_shape(size))
        moved = shape[-1] != self.shape[-1] and self.holds == "pixels"
        if moved and any(isinstance(layer, Standardize) for layer in self.front):
            self.refuse("it mixes features that have scales of their own", "put it first")
        if self.holds == "acc" and shape[-1] != self.shape[-1]:
            self.refuse("it mixes channels before the sign", "put it after the sign")
        self.shape = shape

    def rescale(self, layer: Rescale) -> None:
        if self.holds != "pixels":
            self.refuse(
                "expected it before the first product or sign",
                "leave it out: only pixels are rescaled",
            )
        scale, offset = Fraction(layer.scale), Fraction(layer.offset)
        self.scale, self.offset = scale * self.scale, scale * self.offset + offset
        self.rescales.append(layer)
        self.front.append(layer)

    def standardize(self, layer: Standardize) -> None:
        if self.holds != "pixels":
            self.refuse(
                "expected it before the first product or sign", "leave it out, or put it first"
            )
        self.require_features(layer)
        mean, std = layer.mean.data, layer.std.data
        if not (np.isfinite(mean) & np.isfinite(std) & (std > 0)).all():
            self.refuse("expected finite means and positive deviations", "fit it again: fit(x)")
        self.front.append(layer)

    def code(self, layer: InputCode) -> None:
        if self.holds != "pixels":
            self.refuse(
                "expected it before the first product or sign",
                "leave it out: only inputs are coded",
            )
        self.require_features(layer)
        self.add_code(layer)

    def require_features(self, layer: Standardize | InputCode) -> None:
        if self.shape[-1] != layer.features:
            self.refuse(
                f"expected samples of shape (..., {layer.features}), got {self.shape}",
                f"say what they are: model.input_contract = InputContract({self.dtype!r}, "
                f"({layer.features},)); pack(model)",
            )

    def add_code(self, layer: InputCode | Activation) -> None:
        stage = code_stage(f"pack: {self.where}", self.shape, self.dtype, self.front, layer)
        self.plan.steps.append(stage)
        self.shape, self.holds = stage.out_shape, "bits"

    def activate(self, layer: Activation) -> None:
        self.after_product = self.holds == "acc"
        if self.holds == "pixels" and self.raw:
            self.add_code(layer)
        elif self.holds == "pixels":
            self.plan.steps.append(self.binarize(layer))
        elif self.fold is not None:
            shape = self.later[0].in_shape if self.later else self.shape
            self.plan.steps.append((replace(self.fold, activation=layer), shape))
            self.plan.steps += self.later
            self.fold, self.later = None, []
        self.holds = "bits"

    @property
    def raw(self) -> bool:
        """Whether the values are no pixels, which can be summed, but numbers to compare."""
        return self.dtype != "uint8" or any(isinstance(f, Standardize) for f in self.front)

    def note_sign(self, layers: int) -> None:
        """Note that the model and the plan have the same bits here."""
        folds = [i for i, step in enumerate(self.plan.steps) if not isinstance(step, Stage)]
        self.plan.signs.append(Sign(layers, len(self.plan.steps), folds[-1]))

    def rescaled(self) -> HostArray:
        """The 256 pixel values after the model's own Rescale layers."""
        if not self.rescales:
            self.refuse(
                "expected a Rescale first, since a packed model takes bytes",
                "put Rescale(1 / 255) first, and train it on bytes",
            )
        x: HostArray = np.arange(256, dtype=np.uint8)[:, None]
        for layer in self.rescales:
            x = layer.forward(x)
        return x

    def binarize(self, layer: Activation) -> Binarize:
        """A threshold on pixels, from the model's own layers on all 256 values."""
        x = self.rescaled()
        bits = layer.forward(x)[:, 0] > 0
        changes = np.flatnonzero(bits[1:] != bits[:-1])
        if len(changes) > 1:
            self.refuse("the sign of a pixel changes more than once")
        falling = bool(bits[0]) and len(changes) == 1
        change = int(changes[0]) if len(changes) else -1 if bits[0] else 255
        return Binarize(self.shape, self.shape, change if falling else change + 1, falling)

    def dense(self, layer: Dense) -> None:
        if self.shape != (layer.in_features,):
            n = layer.in_features
            flat = len(self.shape) > 1 and math.prod(self.shape) == n
            hint = "put Flatten() before it" if flat else _give_shape(n)
            self.refuse(f"expected samples of shape {(n,)}, got {self.shape}", hint)
        weights, size = self.weights(layer)
        shape = (layer.out_features,)
        pixels = self.holds == "pixels"
        self.product(DenseStage(self.shape, shape, weights, layer.in_features, pixels), layer, size)

    def conv(self, layer: Conv2D | Conv1D) -> None:
        """A convolution of images; a signal becomes an image of one row."""
        windows, of_images = layer.windows, isinstance(layer, Conv2D)
        if len(self.shape) != len(layer.padding) + 1 or self.shape[-1] != layer.in_channels:
            sizes = "height, width" if of_images else "length"
            self.refuse(
                f"expected {'images' if of_images else 'signals'} with {layer.in_channels} "
                f"channels, got {self.shape}",
                f"put Reshape(({sizes}, {layer.in_channels})) before it",
            )
        (above, below), (left, right) = (*([] if of_images else [(0, 0)]), *layer.padding)
        shape = self.shape if of_images else (1, *self.shape)
        height, width, channels = shape
        padded = (1, above + height + below, left + width + right, channels)
        counts = windows.counts(padded)
        if min(counts) < 1:
            self.refuse(
                f"expected {'images' if of_images else 'signals'} that windows fit on, got "
                f"{self.shape}",
                "use smaller windows or padding",
            )
        weights, size = self.weights(layer)
        stage = ConvStage(
            shape,
            (*counts, layer.out_channels),
            weights,
            math.prod(windows.size) * channels,
            self.holds == "pixels",
            windows.size,
            windows.stride,
            windows.dilation,
            ((above, below), (left, right)),
            self.padding_value(layer),
        )
        self.product(stage, layer, size)
        self.shape = self.shape if of_images else self.shape[1:]

    def padding_value(self, layer: Convolution) -> int:
        """The padding as a bit, or as the pixel that is exactly its value after rescaling.

        A pixel that equals it only after rounding could put a sum on the other side of a threshold.
        """
        value = layer.padding_value
        if not layer.is_padded:
            return 0
        if self.holds == "pixels":
            self.rescaled()  # refuses a model without a Rescale
            for pixel in range(256):
                if self.scale * pixel + self.offset == Fraction(value):
                    return pixel
            self.refuse(
                f"its padding of {value:g} is not exactly a pixel after the Rescale",
                "use Rescale(1 / 255) with a padding of 0, Rescale(2 / 255, -1) with -1, "
                "Rescale(-2 / 255, 1) with +1, or padding=0",
            )
        if value == 0:
            self.refuse(
                "its padding of 0 is a third value besides -1 and +1",
                "use padding_value=-1 or +1, or padding=0",
            )
        return int(value > 0)

    def weights(self, layer: Weighted) -> tuple[HostArray, HostArray]:
        """The rows of bits and the size of each row's weights, from the weights in evaluation."""
        if self.holds == "acc":
            self.refuse("its input has real values", "put a sign before it")
        layer.check_input(np.zeros(1, layer.dtype))  # raises if the layer has no values
        Wq = np.asarray(layer.quantized_weight(False))
        rows = Wq.reshape(-1, Wq.shape[-1]).T
        size = abs(rows[:, 0])
        if not np.isfinite(rows).all():
            self.refuse("expected finite weights, got nan or infinity", "train it again")
        if not (abs(rows) == size[:, None]).all():
            self.refuse(
                f"expected weights of two values, plus and minus one number for each channel, got "
                f"others from {layer.weight_quantizer!r}",
                "packable is weight_quantizer=SignSTE() and what else gives such values",
            )
        if flaw := quantizer_flaw(layer, Wq):
            self.refuse(*flaw)
        return CPU.run(pack_rows, (rows >= 0).astype(np.uint8)), size

    def product(self, stage: Product, layer: Weighted, size: HostArray) -> None:
        """Add a product, and begin a new `Fold`, which collects the layers after it.

        A layer on pixels gets ``s pixel + o`` as input, from the model's Rescale layers. So its sum
        is ``size (s acc + o (sum of the signs))``, where acc is the packed sum of the pixels.
        """
        scale, offset = Fraction(1), Fraction(0)
        if stage.pixels and self.raw:
            self.refuse(
                f"it sums the input, {self.dtype} with a scale for each feature, and the packed "
                "form sums whole numbers",
                f"put Thermometer({self.shape[-1]}, 8) or Activation(SignSTE()) before it, and "
                "train that",
            )
        if stage.pixels:
            self.rescaled()  # refuses a model without a Rescale
            scale, offset = self.scale, self.offset
        if 255 * stage.width >= 2**31:
            self.refuse("its sums do not fit into int32", "use fewer inputs")
        self.plan.steps.append(stage)
        plus = (stage.reach()[1] // 255).tolist() if stage.pixels else [0] * stage.channels
        sizes = [Fraction(float(a)) for a in size]
        unit = tuple(a * scale for a in sizes)
        zero = tuple(a * offset * (2 * p - stage.width) for a, p in zip(sizes, plus, strict=True))
        self.fold = Fold(self.where, stage, layer, unit, zero)
        self.shape, self.holds = stage.out_shape, "acc"

    def pool(self, layer: MaxPool2D) -> None:
        """Pool accumulators before a batch norm, and bits after it.

        Pooling bits is allowed since sign(max v) = max sign(v) for all v.
        """
        if self.holds == "pixels":
            self.refuse("it comes before any product or sign", "put it after the first Conv2D")
        windows: Windows = layer.windows
        counts = windows.counts((1, *self.shape)) if len(self.shape) == 3 else (0, 0)
        if min(counts) < 1:
            self.refuse(
                f"expected images that windows fit on, got {self.shape}", "use smaller windows"
            )
        stage = PoolStage(self.shape, (*counts, self.shape[-1]), windows.size, windows.stride)
        # The maximum may be taken of accumulators only if values rise with them: unit >= 0.
        rises = self.fold is not None and min(self.fold.unit) >= 0
        if self.fold is not None and (self.fold.norm is not None or not rises):
            self.later.append(stage)
        else:
            self.plan.steps.append(stage)
        self.shape = stage.out_shape

    def normalize(self, layer: BatchNorm | ShiftBatchNorm) -> None:
        layer.check_input(np.zeros((1, 1), layer.dtype), None)
        if self.fold is None:
            self.refuse("expected it between a product and its sign", "move it there")
        if self.fold.norm is not None:
            self.refuse("a second batch norm before one sign", "leave one of them out")
        if self.later:
            self.refuse("pooling before it does not commute", "rescale by a positive number")
        if layer.channels not in (1, self.shape[-1]) or (
            layer.channels == 1 != self.shape[-1] and type(layer) is not TensorNorm
        ):
            n = self.shape[-1]
            self.refuse(f"expected {n} channels", f"write {type(layer).__name__}({n})")
        self.fold = replace(self.fold, norm=layer, where=f"{self.fold.where}, and {layer!r}")

    def finish(self) -> Plan:
        """The plan; its last fold gives the scores."""
        hint = "end it in a Dense with binary weights, and perhaps a batch norm"
        self.where = "the model's end"
        if self.fold is None or len(self.shape) != 1:
            got = f"{self.holds} of shape {self.shape}"
            self.refuse(f"expected one value for each class, got {got}", hint)
        if self.later and self.fold.norm is None:
            self.refuse(
                "a MaxPool2D of sums that fall with the pixels", "rescale by a positive number"
            )
        if self.later:
            self.refuse("a MaxPool2D after the last batch norm", "put it before the batch norm")
        self.plan.steps.append((self.fold, self.shape))
        return self.plan


def _give_shape(size: int) -> str:
    return f"give pack the shape of one sample, of {size} values"
