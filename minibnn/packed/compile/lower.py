"""Lower a model to a plan: which layers become which stage, and which cannot be packed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from minibnn.backend import CPU
from minibnn.encoding import OneHotCode, Standardize, Thermometer
from minibnn.encoding.base import Fitted, InputCode
from minibnn.functions import Identity, ReLU
from minibnn.layers import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    DirectFeedback,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    MaxPool2D,
    PReLU,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    ShiftBatchNorm,
    TensorNorm,
)
from minibnn.layers.conv import Convolution
from minibnn.layers.weighted import Weighted
from minibnn.packed.bits import pack_rows
from minibnn.packed.compile import bounds
from minibnn.packed.compile.codes import code_stage
from minibnn.packed.compile.fold import Fold, Integers, gives_levels, rounding
from minibnn.packed.compile.plan import Plan, Sign, is_sign, layers_of, quantizer_flaw
from minibnn.packed.compile.values import (
    Affine,
    Value,
    as_affine,
    common_unit,
    error_of,
    fixed_point,
    reach_of,
)
from minibnn.packed.compile.weights import Weights, weights_of
from minibnn.packed.errors import PackError
from minibnn.packed.integer_stages import (
    LEAST,
    MOST,
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    IntegerProduct,
    SlopeStage,
    SumPoolStage,
)
from minibnn.packed.ranges import Range, constant, range_of
from minibnn.packed.stages import (
    Binarize,
    ConvStage,
    DenseStage,
    HostArray,
    PoolStage,
    Product,
    Shape,
    Stage,
    size_of,
)
from minibnn.windows import Windows

# Compared exactly, since a subclass may compute anything.
_KINDS = (
    Activation, AveragePool2D, BatchNorm, Concatenate, Conv1D, Conv2D, Dense, Dropout, Flatten,
    GlobalAveragePool2D, MaxPool2D, OneHotCode, PReLU, Rescale, Reshape, Residual, ShiftBatchNorm,
    Standardize, TensorNorm, Thermometer,
)  # fmt: skip
PACKABLE = (
    "packable are Flatten, Reshape, Rescale, Standardize, Thermometer, OneHotCode (these first), "
    "Dropout, Dense, Conv2D, Conv1D, MaxPool2D, AveragePool2D, GlobalAveragePool2D, BatchNorm, "
    "TensorNorm, ShiftBatchNorm, PReLU, Residual, Concatenate, and Activation of a sign, "
    "DoReFaActivations, Heaviside or ReLU"
)
LEVEL_BITS = 8  # of the 255 levels that a stage may have
SLOPE_BITS, STEEPEST = 14, 2**10  # the bits behind the point of a slope, and the largest one


def lower(model: Layer, input_shape: Shape, dtype: str = "uint8") -> Plan:
    """The plan of a model on the CPU, for inputs of this dtype.

    Raises:
        PackError: for layers that cannot be packed, by name: all that have no packed form
            wherever they are, and the first that has none in its place.
    """
    try:
        with np.errstate(all="ignore"):  # a bound that is infinite or nan is refused at the end
            return _lower(model, input_shape, dtype)
    except OverflowError:
        raise PackError(
            "pack: expected values that floats of 64 bits hold, got parameters beyond them; train "
            "it with weight decay"
        ) from None
    except PackError as error:
        found = [str(error), *(o for o in _obstacles(model, input_shape, dtype) if o != str(error))]
    if len(found) == 1:
        raise PackError(found[0])
    listed = "\n".join(f"  {text.removeprefix('pack: ')}" for text in found)
    raise PackError(f"pack: {len(found)} obstacles:\n{listed}")


def _obstacles(model: Layer, input_shape: Shape, dtype: str) -> list[str]:
    """What keeps each layer from being packed, whatever the others are."""
    lowering, found = _Lowering(input_shape, dtype), []
    for path, layer in _leaves(model, ""):
        lowering.where = f"layer {path or 0}, {layer}"
        try:
            lowering.look_at(layer)
            if type(layer) in (Dense, Conv2D, Conv1D):
                lowering.weights(layer)  # type: ignore[arg-type]
        except PackError as error:
            found.append(str(error))
    return found


def _leaves(layer: Layer, path: str) -> Iterator[tuple[str, Layer]]:
    """All layers without children, those in branches too."""
    if type(layer) not in (Sequential, DirectFeedback, Residual, Concatenate):
        yield path, layer
        return
    for name, child in layer.named_children():
        yield from _leaves(child, _join(path, name))


def _join(*names: str) -> str:
    return ".".join(name for name in names if name)


def _lower(model: Layer, input_shape: Shape, dtype: str) -> Plan:
    lowering = _Lowering(input_shape, dtype)
    lowering.chain(model, "", top=True)
    return lowering.finish()


class _Lowering:
    """The plan so far, and the value after it.

    Attributes:
        value: what the program holds after the last layer.
        where: the current layer, for messages.
        dtype: of the input.
    """

    def __init__(self, input_shape: Shape, dtype: str) -> None:
        self.dtype = dtype
        self.where = ""
        self.plan = Plan()
        n = input_shape[-1]
        pixels, exact = constant(0, 255, n), bounds.no_error(n)
        self.value = Value("pixels", -1, input_shape, input_shape, pixels, Fraction(1), exact)

    @property
    def shape(self) -> Shape:
        """Of a sample, as the layers see it."""
        return self.value.shape

    def refuse(self, why: str, hint: str = PACKABLE) -> NoReturn:
        raise PackError(f"pack: {self.where}: {why}; {hint}")

    def chain(self, model: Layer, path: str, top: bool = False) -> None:
        """Add layers one after the other.

        Args:
            model: a layer, or a container of layers.
            path: of the model.
            top: whether it is the whole model.
        """
        layers = list(layers_of(model))
        for i, (name, layer) in enumerate(layers):
            here = _join(path, name)
            self.where = f"layer {here or 0}, {layer}"
            self.look_at(layer)
            following = layers[i + 1][1] if i + 1 < len(layers) else None
            if isinstance(layer, Residual | Concatenate):
                self.branches(layer, here)
            elif not (isinstance(layer, PReLU) and self.keeps_signs(layer, following)):
                steps = self.plan.steps
                before = len(steps)
                self.take(layer)
                if top and not all(isinstance(step, Stage) for step in steps[before:]):
                    self.note_sign(i + 1)

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
            known = isinstance(layer.function, Identity | ReLU) or gives_levels(layer)
            if not (known or is_sign(layer.function, layer.dtype)):
                self.refuse(
                    "its values are no signs (-1 below 0 and else +1), and no levels",
                    "packable are SignSTE, ApproxSign, SwishSign, AdaSTE and what else has such "
                    "values, DoReFaActivations, Heaviside and ReLU",
                )
            if (bits := getattr(layer.function, "bits", 0)) > LEVEL_BITS and gives_levels(layer):
                self.refuse(
                    f"expected up to {LEVEL_BITS} bits, got {bits}",
                    f"write DoReFaActivations({LEVEL_BITS}), or ReLU(), and train that",
                )
        elif kind not in _KINDS:
            self.refuse(f"expected a layer that has a packed form, got {kind.__name__}")

    def take(self, layer: Layer) -> None:
        """Add a layer that passed `look_at`, and has no branches."""
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
        elif isinstance(layer, MaxPool2D | AveragePool2D | GlobalAveragePool2D):
            self.pool(layer)
        elif isinstance(layer, BatchNorm | ShiftBatchNorm):
            self.normalize(layer)
        elif isinstance(layer, PReLU):
            self.slope(layer, layer.slope.data)

    # --- the input --------------------------------------------------------------------------------

    def reshape(self, layer: Flatten | Reshape) -> None:
        """Change the shape, which moves no value."""
        n = math.prod(self.shape)
        shape = (n,) if isinstance(layer, Flatten) else layer.shape
        if math.prod(shape) != n:
            size = math.prod(shape)
            self.refuse(f"expected samples of {size} values, got {self.shape}", _give_shape(size))
        moved = shape[-1] != self.shape[-1] and self.value.holds == "pixels"
        if moved and any(isinstance(layer, Standardize) for layer in self.value.front):
            self.refuse("it mixes features that have scales of their own", "put it first")
        self.value = replace(self.value, shape=shape)

    def rescale(self, layer: Rescale) -> None:
        if self.value.holds != "pixels":
            self.refuse(
                "expected it before the first product or sign",
                "leave it out: only pixels are rescaled",
            )
        self.value = replace(self.value, front=(*self.value.front, layer))
        if not np.isfinite(self.rescaled()).all():
            self.refuse("expected finite numbers", "write Rescale(1 / 255)")

    def standardize(self, layer: Standardize) -> None:
        if self.value.holds != "pixels":
            self.refuse(
                "expected it before the first product or sign", "leave it out, or put it first"
            )
        self.require_features(layer)
        mean, std = layer.mean.data, layer.std.data
        if not (np.isfinite(mean) & np.isfinite(std) & (std > 0)).all():
            self.refuse("expected finite means and positive deviations", "fit it again: fit(x)")
        self.value = replace(self.value, front=(*self.value.front, layer))

    def code(self, layer: InputCode) -> None:
        if self.value.holds != "pixels":
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
        stage = code_stage(f"pack: {self.where}", self.shape, self.dtype, self.value.front, layer)
        self.put(replace(stage, sources=self.plan.sources(-1)), "bits", Fraction(1))

    def pixels(self) -> None:
        """Refuse an input of which no sums can be made; note what the model's Rescale rounds."""
        if self.value.holds == "pixels" and self.raw:
            self.refuse(
                f"it sums the input, {self.dtype} with a scale for each feature, and the packed "
                "form sums whole numbers",
                f"put Thermometer({self.shape[-1]}, 8) or Activation(SignSTE()) before it, and "
                "train that",
            )
        if self.value.holds == "pixels":
            x = self.rescaled()[:, 0].tolist()
            scale, offset = self.value.scaling
            off = max(abs(Fraction(v) - scale * i - offset) for i, v in enumerate(x))
            error = bounds.no_error(len(self.value.range.low))
            error[bounds.FLOAT] = float(off)
            self.value = replace(self.value, error=error)

    @property
    def raw(self) -> bool:
        """Whether the values are no pixels, which can be summed, but numbers to compare."""
        return self.dtype != "uint8" or any(isinstance(f, Standardize) for f in self.value.front)

    def rescaled(self) -> HostArray:
        """The 256 pixel values after the model's own Rescale layers."""
        if not self.value.rescales:
            self.refuse(
                "expected a Rescale first, since a packed model takes bytes",
                "put Rescale(1 / 255) first, and train it on bytes",
            )
        x: HostArray = np.arange(256, dtype=np.uint8)[:, None]
        with np.errstate(over="ignore"):  # `rescale` refuses what is not finite
            for layer in self.value.rescales:
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
        t = change if falling else change + 1
        return Binarize(self.shape, self.shape, t, falling, sources=self.plan.sources(-1))

    # --- signs and levels -------------------------------------------------------------------------

    def activate(self, layer: Activation) -> None:
        """A sign or levels, which end a fold; `ReLU` is a slope of 0."""
        function, value = layer.function, self.value
        if isinstance(function, Identity):
            return
        if isinstance(function, ReLU):
            self.slope(layer, np.zeros(self.shape[-1]))
            return
        levels = gives_levels(layer)
        if value.holds == "pixels" and levels:
            self.refuse("it comes before any product or sign", "put it after the first product")
        if value.holds == "pixels" and self.raw:
            self.add_code(layer)
        elif value.holds == "pixels":
            self.put(self.binarize(layer), "bits", Fraction(1))
        elif value.holds != "bits" or levels:  # the sign of a sign is the same
            fold = value.fold
            if fold is None:
                value, fold = self.folded(value)
            self.value = self.plan.put_fold(value, replace(fold, activation=layer))

    def note_sign(self, layers: int) -> None:
        """Note that the model and the plan have the same bits here."""
        steps = self.plan.steps
        fold = [i for i, step in enumerate(steps) if not isinstance(step, Stage)][-1]
        unit = self.value.unit if self.value.holds == "numbers" else None
        self.plan.signs.append(Sign(layers, len(steps), fold, unit))

    # --- products ---------------------------------------------------------------------------------

    def dense(self, layer: Dense) -> None:
        if self.shape != (layer.in_features,):
            n = layer.in_features
            flat = len(self.shape) > 1 and math.prod(self.shape) == n
            hint = "put Flatten() before it" if flat else _give_shape(n)
            self.refuse(f"expected samples of shape {(n,)}, got {self.shape}", hint)
        weights = self.weights(layer)
        value = self.summable(weights)
        shapes = value.shape, (layer.out_features,)
        sources = self.plan.sources(value.at)
        stage: Product | IntegerProduct
        if weights.binary and value.holds != "numbers":
            words, pixels = _words(weights), value.holds == "pixels"
            stage = DenseStage(*shapes, words, layer.in_features, pixels, sources=sources)
        else:
            stage = IntegerDense(*shapes, weights.rows, value.holds, sources=sources)
        self.product(stage, layer, weights, value)

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
        weights, groups = self.weights(layer), windows.groups
        value = self.summable(weights)
        border = self.padding(layer, value)
        shapes = shape, (*counts, layer.out_channels)
        size, stride, dilation = windows[:3]
        edges = ((above, below), (left, right))
        sources = self.plan.sources(value.at)
        plain = weights.binary and groups == 1
        stage: Product | IntegerProduct
        if plain and (value.holds == "pixels" or (value.holds == "bits" and border != 0)):
            width = weights.rows.shape[1]
            words, pixels = _words(weights), value.holds == "pixels"
            bit = border if pixels else int(border > 0) if layer.is_padded else 0
            stage = ConvStage(
                *shapes, words, width, pixels, size, stride, dilation, edges, bit, sources=sources
            )
        else:
            border = border if layer.is_padded else 0
            stage = IntegerConv(
                *shapes,
                weights.rows,
                value.holds,
                size,
                stride,
                dilation,
                edges,
                border,
                groups,
                sources=sources,
            )
        self.product(stage, layer, weights, value)
        if not of_images:
            self.value = replace(self.value, shape=self.shape[1:])

    def padding(self, layer: Convolution, value: Value) -> int:
        """The padding as an integer: a pixel, the sign of a bit, or a number.

        A pixel or number that equals it only after rounding could put a sum on the other side of a
        threshold.
        """
        padding = layer.padding_value
        if value.holds == "pixels":
            scale, offset = value.scaling
            for pixel in range(256 if layer.is_padded else 0):
                if scale * pixel + offset == Fraction(padding):
                    return pixel
            if layer.is_padded:
                self.refuse(
                    f"its padding of {padding:g} is not exactly a pixel after the Rescale",
                    "use Rescale(1 / 255) with a padding of 0, Rescale(2 / 255, -1) with -1, "
                    "Rescale(-2 / 255, 1) with +1, or padding=0",
                )
            return 0
        if not layer.is_padded:
            return -1  # any
        number = Fraction(padding) / value.unit
        if number.denominator != 1 or not LEAST <= number <= MOST:
            self.refuse(
                f"its padding of {padding:g} is not exactly one of the numbers that it takes, "
                f"multiples of {float(value.unit):g}",
                "use padding_value=0",
            )
        return int(number)

    def weights(self, layer: Weighted) -> Weights:
        """The weights in evaluation, as integers."""
        layer.check_input(np.zeros(1, layer.dtype))  # raises if the layer has no values
        Wq = np.asarray(layer.quantized_weight(False))
        if not np.isfinite(Wq).all():
            self.refuse("expected finite weights, got nan or infinity", "train it again")
        if flaw := quantizer_flaw(layer, Wq):
            self.refuse(*flaw)
        return weights_of(layer, Wq)

    def summable(self, weights: Weights) -> Value:
        """The value as a product takes it, so that its sums fit into int32."""
        self.pixels()
        value = self.value
        if value.fold is not None:
            value = self.numbers(value)
        size = int(abs(weights.rows).sum(axis=1, dtype=np.int64).max())
        if value.holds != "numbers":
            if (255 if value.holds == "pixels" or weights.binary else 1) * size >= 2**31:
                self.refuse("its sums do not fit into int32", "use fewer inputs")
            return value
        if size >= 2**27:
            self.refuse("its sums do not fit into int32", "use fewer inputs")
        most = max(int(abs(end).max()) for end in value.range)
        allowed = (2**31 - 1) // max(size, 1)
        if most <= allowed:
            return value
        coarser = 2 ** (math.ceil(most / allowed) - 1).bit_length()
        return self.numbers(value, value.unit * coarser)

    def product(
        self, stage: Product | IntegerProduct, layer: Weighted, weights: Weights, value: Value
    ) -> None:
        """Add a product, and begin a new `Fold`, which collects the layers after it.

        A layer on pixels gets ``s pixel + o`` as input, from the model's Rescale layers. So its sum
        is ``size (s acc + o (sum of the weights))``, where acc is the packed sum of the pixels.
        """
        scale, offset = value.unit, Fraction(0)
        if value.holds == "pixels":
            scale, offset = value.scaling
        taken = value.range.of_shape(value.base, stage.in_shape)
        padded = isinstance(stage, ConvStage | IntegerConv) and any(map(any, stage.border))
        reach = taken
        if padded and value.holds == "numbers":
            border = stage.border_value  # type: ignore[union-attr]
            reach = Range(np.minimum(taken.low, border), np.maximum(taken.high, border))
        largest = bounds.largest_of(reach, float(scale), float(offset))
        before = bounds.of_shape(value.error, value.base, stage.in_shape)
        error = bounds.of_sums(stage, weights, before, largest, layer.dtype)
        unit = tuple(size * scale for size in weights.size)
        sums = weights.rows.sum(axis=1, dtype=np.int64).tolist()
        zero = tuple(size * offset * n for size, n in zip(weights.size, sums, strict=True))
        each = np.array([abs(float(u)) for u in unit])
        error = np.divide(error, each, out=np.zeros_like(error), where=each > 0)
        found = self.plan.put(stage, "acc", Fraction(1), error, taken)
        product = stage if isinstance(stage, Product) else Integers(*found.range)
        fold = Fold(self.where, product, layer, unit, zero, rounded=found.rounded)
        if fold.enumerable:
            error[bounds.FLOAT] = 0  # sums of +1 and -1 are exact
        self.value = replace(found, fold=fold)

    # --- pooling and batch norm -------------------------------------------------------------------

    def pool(self, layer: MaxPool2D | AveragePool2D | GlobalAveragePool2D) -> None:
        if self.value.holds == "pixels":
            self.refuse("it comes before any product or sign", "put it after the first Conv2D")
        if isinstance(layer, GlobalAveragePool2D):
            windows = Windows(self.shape[:2]) if len(self.shape) == 3 else None
        else:
            windows = layer.windows
        counts = windows.counts((1, *self.shape)) if windows and len(self.shape) == 3 else (0, 0)
        if windows is None or min(counts) < 1:
            self.refuse(
                f"expected images that windows fit on, got {self.shape}", "use smaller windows"
            )
        shape = (*counts, self.shape[-1])
        if isinstance(layer, MaxPool2D):
            self.greatest(windows, shape)
        else:
            self.mean(layer, windows, shape)
        if isinstance(layer, GlobalAveragePool2D):
            self.value = replace(self.value, shape=shape[-1:])

    def greatest(self, windows: Windows, shape: Shape) -> None:
        """Pool accumulators before a batch norm, and bits after it.

        Pooling bits is allowed since sign(max v) = max sign(v) for all v.
        """
        value = self.value
        if value.fold is not None:
            here = value.later[-1].out_shape if value.later else value.base
            if here != value.shape:
                value = self.numbers(value)
        stage = PoolStage(value.shape, shape, windows.size, windows.stride)
        # The maximum may be taken of accumulators only if values rise with them: unit >= 0.
        fold = value.fold
        if fold is not None and (fold.norm is not None or min(fold.unit) < 0):
            self.value = replace(value, later=(*value.later, stage), shape=shape)
            return
        self.value = self.pooled(value, stage)

    def pooled(self, value: Value, stage: PoolStage) -> Value:
        """The maxima of a value, which keep its kind, its range and its errors."""
        taken, error = value.range_here, value.error_here
        stage = replace(stage, in_shape=value.shape, sources=self.plan.sources(value.at))
        found = self.plan.put(stage, value.holds, value.unit, error, taken)
        return replace(found, fold=value.fold)

    def mean(self, layer: Layer, windows: Windows, shape: Shape) -> None:
        """The sum of each window, of which the fold takes the share."""
        value = self.value if self.value.fold is None else self.numbers(self.value)
        taken, n = value.range_here, size_of(windows.size)
        if max(int(abs(end).max()) for end in taken) * n >= 2**31:
            self.refuse("its sums do not fit into int32", "use smaller windows")
        stage = SumPoolStage(
            value.shape, shape, value.holds, windows.size, windows.stride,
            sources=self.plan.sources(value.at),
        )  # fmt: skip
        largest = bounds.largest_of(taken, float(value.unit))
        error = n * value.error_here
        error[bounds.FLOAT] += rounding(n * largest, n + 2, layer.dtype)
        error /= float(value.unit)
        found = self.plan.put(stage, "acc", Fraction(1), error, taken)
        self.value, _ = self.begun(found, value.unit / n)

    def normalize(self, layer: BatchNorm | ShiftBatchNorm) -> None:
        layer.check_input(np.zeros((1, 1), layer.dtype), None)
        if self.value.holds == "pixels":
            self.refuse("expected it between a product and its sign", "move it there")
        if layer.channels not in (1, self.shape[-1]) or (
            layer.channels == 1 != self.shape[-1] and type(layer) is not TensorNorm
        ):
            n = self.shape[-1]
            self.refuse(f"expected {n} channels", f"write {type(layer).__name__}({n})")
        value, fold = self.folded(self.value)
        if fold.norm is not None or value.later:
            value, fold = self.folded(self.numbers(value))
        where = self.where if fold.layer is None else f"{fold.where}, and {layer!r}"
        self.value = replace(value, fold=replace(fold, norm=layer, where=where))

    def folded(self, value: Value) -> tuple[Value, Fold]:
        """The value with a fold to which a batch norm or a sign can be added, in its shape."""
        if value.fold is not None and (value.later or value.base[-1] == value.shape[-1]):
            return value, value.fold
        if value.fold is not None or value.holds == "bits":
            value = self.numbers(value)
        found = replace(
            value, base=value.shape, range=value.range_here,
            error=value.error_here / float(value.unit),
        )  # fmt: skip
        return self.begun(found, value.unit)

    def begun(self, value: Value, unit: Fraction) -> tuple[Value, Fold]:
        """Integers, with a fold that gives each of them this value."""
        n = len(value.range.low)
        sizes = (unit,) * n, (Fraction(0),) * n
        fold = Fold(self.where, Integers(*value.range), None, *sizes, rounded=value.rounded)
        return replace(value, fold=fold), fold

    # --- numbers ----------------------------------------------------------------------------------

    def numbers(self, value: Value, unit: Fraction | None = None, room: float = 1.0) -> Value:
        """The value as numbers, of this unit or of the one that suits it.

        Args:
            value: of any kind.
            unit: of the numbers.
            room: how many times larger they may get.
        """
        if value.fold is None and value.holds == "numbers" and unit in (None, value.unit):
            most = max(int(abs(end).max()) for end in value.range)
            if most * room <= MOST:
                return value
        of = as_affine(value)
        if unit is None:
            unit = self.unit([(value, of)], max, room)
        found = self.plan.scaled(value, unit, of, error_of(value))
        for stage in value.later:
            found = self.pooled(replace(found, shape=stage.in_shape), stage)
        return replace(found, shape=value.shape)

    def unit(
        self, values: Sequence[tuple[Value, Affine]], together: Any, room: float = 1.0
    ) -> Fraction:
        """The unit in which numbers of 16 bits hold the values, if possible without rounding.

        Args:
            values: each with its affine function.
            together: `max`, or `sum` for numbers that are added.
            room: how many times larger they may get.
        """
        largest = Fraction(room) * together(_largest(value, of) for value, of in values)
        exact = all(_exact(value) for value, _ in values)
        if exact:
            unit = common_unit([pair for _, of in values for pair in of])
            if largest <= MOST * unit:
                return unit
        return fixed_point(largest)

    def finer(self, value: Value, room: float) -> Fraction | None:
        """A fraction of the unit of exact values, which may be few and large, such as signs.

        Slopes give numbers between them. None if the values were rounded, to numbers of 16 bits.
        """
        of = as_affine(value)
        if not _exact(value):
            return None
        unit = self.unit([(value, of)], max, room)
        spare = Fraction(MOST) * unit / (Fraction(room) * (_largest(value, of) or 1))
        parts: int = 2 ** max(0, math.floor(spare).bit_length() - 1)
        return unit / parts

    def keeps_signs(self, layer: PReLU, following: Layer | None) -> bool:
        """Whether a sign follows, which all slopes leave as it is."""
        sign = type(following) is Activation and is_sign(following.function, following.dtype)
        fits = layer.channels == self.shape[-1]
        return sign and fits and bool((layer.slope.data > 0).all())

    def slope(self, layer: Layer, slopes: HostArray) -> None:
        """A rectifier with a slope for each channel below 0."""
        self.pixels()
        n = self.shape[-1]
        if len(slopes) != n:
            self.refuse(f"expected {n} channels", f"write {type(layer).__name__}({n})")
        if not np.isfinite(slopes).all():
            self.refuse("expected finite slopes, got nan or infinity", "train it again")
        slopes = slopes.astype(np.float64)
        steep = max(1.0, float(abs(slopes).max()))
        if steep > STEEPEST:
            self.refuse(
                f"expected slopes of up to {STEEPEST:,}, got {steep:.3g}",
                "train it with weight decay",
            )
        A = np.rint(slopes * 2.0**SLOPE_BITS).astype(np.int64)
        stage = SlopeStage(self.shape, self.shape, A, SLOPE_BITS)
        between = bool((np.rint(slopes) != slopes).any())
        value = self.numbers(self.value, self.finer(self.value, steep) if between else None, steep)
        while not range_of(stage, [value.range_here]).within(LEAST, MOST):
            value = self.numbers(value, 2 * value.unit)  # the steepest was rounded up
        stage = replace(stage, sources=self.plan.sources(value.at))
        taken, error = value.range_here, np.maximum(1, abs(slopes)) * value.error_here
        below = np.where(slopes == 0, 0, np.maximum(-taken.low, 0))
        lost = float(value.unit) * (below * 2.0 ** -(SLOPE_BITS + 1) + 0.5 * (below > 0))
        error[: bounds.FLOAT] += lost
        error[bounds.FLOAT] += rounding(abs(slopes) * below * float(value.unit), 1, layer.dtype)
        self.value = self.plan.put(stage, "numbers", value.unit, error, taken)

    # --- branches ---------------------------------------------------------------------------------

    def branches(self, layer: Residual | Concatenate, path: str) -> None:
        """The branches one after the other, each from the same value, and then their meeting."""
        start, where, ends = self.value, self.where, []
        for name, branch in layer.named_children():
            self.value = start
            self.chain(branch, _join(path, name))
            ends.append(self.value)
        self.where = where
        if isinstance(layer, Residual):
            ends += [start] * (layer.shortcut is None)
            if len({end.shape for end in ends}) > 1:
                self.refuse(
                    f"expected block and shortcut of one shape, got {ends[0].shape} and "
                    f"{ends[1].shape}",
                    "give it a shortcut that changes the shape as the block does",
                )
            self.add(ends, layer)
        elif len({end.shape[:-1] for end in ends}) > 1:
            shapes = ", ".join(str(end.shape) for end in ends)
            self.refuse(
                f"expected branches whose shapes differ in the last axis only, got {shapes}",
                "give them the same strides and padding, or end each with Flatten()",
            )
        elif len(ends) > 1:
            self.concatenate(ends)

    def together(self, ends: list[Value], how: Any) -> list[Value]:
        """The ends of branches as numbers of one unit."""
        summable = []
        for end in ends:
            self.value = end
            self.pixels()
            summable.append(self.value)
        values = [(end, as_affine(end)) for end in summable]
        unit = self.unit(values, how)
        return [self.numbers(end, unit) for end in summable]

    def add(self, ends: list[Value], layer: Layer) -> None:
        ends = self.together(ends, sum)
        taken = [end.range_here for end in ends]
        error = np.sum([end.error_here for end in ends], axis=0)
        stage = AddStage(ends[0].shape, ends[0].shape, sources=tuple(end.at for end in ends))
        unit = ends[0].unit
        largest = sum(bounds.largest_of(end, float(unit)) for end in taken)
        error[bounds.FLOAT] += rounding(np.asarray(largest), 1, layer.dtype)
        self.value = self.plan.put(stage, "numbers", unit, error, *taken)

    def concatenate(self, ends: list[Value]) -> None:
        if not all(end.holds == "bits" for end in ends):
            ends = self.together(ends, max)
        parts = tuple(end.shape[-1] for end in ends)
        shape = (*ends[0].shape[:-1], sum(parts))
        error = np.concatenate([end.error_here for end in ends], axis=1)
        sources = tuple(end.at for end in ends)
        stage = ConcatStage(ends[0].shape, shape, parts, sources=sources)
        taken = [end.range_here for end in ends]
        self.value = self.plan.put(stage, ends[0].holds, ends[0].unit, error, *taken)

    # --- the end ----------------------------------------------------------------------------------

    def put(self, stage: Stage, holds: str, unit: Fraction) -> None:
        """Add a stage on the input, which is exact."""
        error = bounds.no_error(stage.out_shape[-1])
        self.value = self.plan.put(stage, holds, unit, error, self.value.range_here)

    def finish(self) -> Plan:
        """The plan; its last fold gives the scores."""
        self.where, value = "the model's end", self.value
        if len(value.shape) != 1 or (value.fold is None and value.holds != "numbers"):
            holds = "sums" if value.fold is not None else value.holds
            self.refuse(
                f"expected one value for each class, got {holds} of shape {value.shape}",
                "end it in a Dense, and perhaps a batch norm",
            )
        if value.later:
            value = self.numbers(value)
        value, fold = self.folded(value)
        fold = replace(fold, sources=self.plan.sources(value.at))
        self.plan.steps.append((fold, value.shape))
        self.plan.error = error_of(value)
        return self.plan


def _words(weights: Weights) -> HostArray:
    """Weights of +1 and -1 as rows of bits."""
    words: HostArray = CPU.run(pack_rows, (weights.rows > 0).astype(np.uint8))
    return words


def _largest(value: Value, of: Affine) -> Fraction:
    """The largest size of a value of any channel."""
    return max(abs(end) for ends in reach_of(value, of) for end in ends)


def _exact(value: Value) -> bool:
    """Whether a value is a multiple of rational numbers, without rounding."""
    return not value.rounded and (
        value.fold is None or all(line.variance == 1 for line in value.fold.lines)
    )


def _give_shape(size: int) -> str:
    return f"give pack the shape of one sample, of {size} values"
