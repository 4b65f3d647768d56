"""`PackedModel`, and `pack`, which makes one from a trained model."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibnn.backend import CPU, Array, Backend, backend_of
from minibnn.checks import boolean
from minibnn.checks import shape as check_shape
from minibnn.layers import Layer
from minibnn.packed.compile import bounds
from minibnn.packed.compile.fold import Fold
from minibnn.packed.compile.lower import lower
from minibnn.packed.compile.scores import precise_scores, ranked_scores
from minibnn.packed.compile.trained_input import trained_input
from minibnn.packed.costs import require_affordable, total
from minibnn.packed.dense_tail import dense_tail
from minibnn.packed.description import Interface, describe, named_arrays, to_json
from minibnn.packed.errors import PackError
from minibnn.packed.inference import dense_layers
from minibnn.packed.integer_stages import LevelStage
from minibnn.packed.stages import (
    CodeStage,
    HostArray,
    ScoreStage,
    Shape,
    Stage,
    ThresholdStage,
    run_stages,
    same_stage,
)
from minibnn.packed.summary import PackedSummary, summarize
from minibnn.renames import renamed

# On the host, CHUNK images at once, or fewer if these take more than SCRATCH bytes (about a cache).
CHUNK, SCRATCH = 256, 2**23
DEVICE_SCRATCH = 2**29  # on a device, as many images at once as take this many bytes


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A binary network as a small program on integers; made by `pack` or `load_packed`.

    The stages are the whole model: each takes the output of the one before it, and the last one
    gives the scores. The program runs on the device where the images are, in NumPy or CuPy.

    Attributes:
        input_shape: of one sample.
        stages: the program; `minibnn.packed.stages` describes each kind of stage.
        certificate: for each threshold stage, how its thresholds were compared with the model, how
            many values were compared, and the sha256 of the thresholds.
        training: figures about the model's training, as given to `save_packed`.
        input_dtype: of a sample: uint8, or for a coded input also int8, int16 or float32.
        feature_names: of the values along a sample's last axis, or None.
        class_names: or None.
        numbers: whether the scores are numbers, times ``2^scores.shift``, and not those of classes.
    """

    input_shape: Shape
    stages: tuple[Stage, ...]
    certificate: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    input_dtype: str = "uint8"
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    numbers: bool = False

    def __repr__(self) -> str:
        kinds = " ".join(stage.kind for stage in self.stages)
        return f"PackedModel({self.input_shape}: {kinds}; {self.nbytes:,} bytes)"

    @property
    def scores(self) -> ScoreStage:
        """The last stage."""
        last = self.stages[-1]
        if not isinstance(last, ScoreStage):
            raise PackError(f"{self!r}: expected scores as the last stage")
        return last

    @property
    def interface(self) -> Interface:
        """What it takes, and the names of what it takes and gives."""
        return Interface(
            self.input_shape, self.input_dtype, self.feature_names, self.class_names, self.numbers
        )

    @property
    def classes(self) -> int:
        """How many scores there are."""
        return len(self.scores.A)

    @property
    def bound(self) -> float | None:
        """How far `logits` may be from the model's outputs, whatever the input.

        None if nothing was rounded when the model was packed: then the scores compare as the exact
        logits do. A rounded value may change a sign, and with it all that follows; so behind signs
        this bound is wide, and `bound_of_same_signs` is what one meets.

        Both bounds include what the model's floats round since the last sign or level. They do not
        hold for an input of which the model rounds a sign or a level to the other side.
        """
        return self._bound("any_signs")

    @property
    def bound_of_same_signs(self) -> float | None:
        """How far `logits` may be from the model's outputs if no sign and no level is another."""
        return self._bound("same_signs")

    def _bound(self, which: str) -> float | None:
        found: dict[str, float] = self.certificate.get("bound", {})
        return found.get(which)

    def predict(self, images: Array, *, names: bool = False) -> Array:
        """The label of each sample: the first class with the greatest score.

        A single score (of a model trained by `BinaryCrossEntropy`) says 1 from 0 on, else 0. If the
        model was packed with ``numbers=True``, the numbers: ``score / 2^shift``, exactly.

        Shapes: images ``(batch, *input_shape)`` of `input_dtype`; labels (batch,); numbers float64
        (batch,) for one output, else (batch, outputs).

        Args:
            images: the samples.
            names: whether to return the classes' names, an array of strings on the host, in the
                place of their numbers.

        Raises:
            TypeError: for samples of another dtype.
            ValueError: for another shape; for `names` if the model has none.
        """
        if names and self.class_names is None:
            raise ValueError(
                f"{self!r}: expected a model that knows the names of its classes, got one without; "
                "write pack(model, class_names=[...])"
            )
        if self.numbers:
            numbers = self.predict_scores(images) * 2.0**-self.scores.shift
            return numbers[:, 0] if self.classes == 1 else numbers
        labels = self._in_chunks(images, self.scores.labels, (), np.intp)
        if not names:
            return labels
        return np.array(self.class_names)[backend_of(labels).to_host(labels)]

    def predict_scores(self, images: Array) -> Array:
        """The integer scores (batch, classes), int64; every exported form gives the same ones."""
        return self._in_chunks(images, self.scores.run, (self.classes,), np.int64)

    def logits(self, images: Array) -> Array:
        """The original model's output in float32, up to rounding."""
        return self._in_chunks(images, self.scores.logits, (self.classes,), np.float32)

    def after(self, images: Array, stages: int) -> Array:
        """The output of the first `stages` stages for a batch: bits, accumulators or scores.

        All images are computed at once, so memory grows with the batch; `predict` divides it.
        """
        return run_stages(self.stages, self._checked(images), stages)

    def verify(self, model: Layer) -> dict[str, Any]:
        """Check that this is the packed form of `model`, bit for bit, for all possible inputs.

        Weights must equal the model's; the bits of every threshold stage are compared with the
        model's as in `Fold.certify`; the scores must equal those that `pack` computes.

        Returns:
            a new certificate.

        Raises:
            TypeError: if `model` is not a model.
            PackError: at the first difference.
        """
        if not isinstance(model, Layer):
            raise TypeError(f"verify: expected the model, got {type(model).__name__}")
        stages, certificate = _build(
            model, self.input_shape, self.input_dtype, self.stages, numbers=self.numbers
        )
        for own, other in zip(self.stages, stages, strict=True):
            if not same_stage(own, other):
                raise PackError(f"verify: expected the model's {other.kind} stage, got another")
        return certificate

    def arrays(self) -> dict[str, HostArray]:
        """All arrays by name, in as few bytes as hold them; see `named_arrays`."""
        return named_arrays(self.stages)

    file_arrays = renamed("arrays", gone_in="0.3")

    @property
    def nbytes(self) -> int:
        """Bytes of its `arrays`.

        The weights take exactly the 1-bit bytes of ``model.summary()``. The rest differs: each
        channel has an integer threshold (2 or 4 bytes, and a bit if any channel falls) instead of
        the floats of bias and batch norm, and each class has A and B as integers and as floats.
        """
        return sum(array.nbytes for array in self.arrays().values())

    @property
    def sha256(self) -> str:
        """Digest of the network, without certificate and training figures; exports state it too.

        It covers the JSON of `describe`, then each array's name, dtype and bytes, little-endian,
        sorted by name.
        """
        sha = hashlib.sha256(to_json(describe(self.interface, self.stages)).encode())
        for name, array in sorted(self.arrays().items()):
            little = array.astype(array.dtype.newbyteorder("<"))
            sha.update(f"{name} {little.dtype.str} ".encode() + little.tobytes())
        return sha.hexdigest()

    def summary(self) -> PackedSummary:
        """Sizes and costs of each stage: print the result, or use its ``table``.

        >>> from minibnn import Dense, Rescale, Sequential, SignSTE
        >>> last = Dense(784, 10, weight_quantizer=SignSTE())
        >>> pack(Sequential(Rescale(1 / 255), last).initialize(0), (784,)).summary().bits
        7840
        """
        return summarize(self.input_shape, self.stages, self.arrays())

    @property
    def _inputs(self) -> str:
        """What messages call its input."""
        return "samples" if isinstance(self.stages[0], CodeStage) else "images"

    def _checked(self, images: Array) -> Array:
        backend_of(images)
        if images.dtype != self.input_dtype:
            wanted = self.input_dtype
            hint = f"if they are such numbers, use x.astype({wanted!r})"
            if wanted == "uint8":
                hint = "of whole numbers from 0 to 255, use images.astype('uint8')"
            raise TypeError(
                f"{self!r}: expected {self._inputs} of dtype {wanted}, got {images.dtype}; {hint}"
            )
        if images.ndim < 1 or images.shape[1:] != self.input_shape:
            sizes = ", ".join(map(str, self.input_shape))
            hint = f"if only the axes differ, use images.reshape(-1, {sizes})"
            wanted = f"expected {self._inputs} of shape (batch, {sizes})"
            raise ValueError(f"{self!r}: {wanted}, got {images.shape}; {hint}")
        return images

    def _in_chunks(self, images: Array, last: Any, shape: Shape, dtype: Any) -> Array:
        backend = backend_of(self._checked(images))
        step = self._at_once(backend)
        if 0 < len(images) <= step:
            return last(self._accumulators(backend, images))  # no copy
        result = backend.xp.empty((len(images), *shape), dtype=dtype)
        for start in range(0, len(images), step):
            part = slice(start, start + step)
            result[part] = last(self._accumulators(backend, images[part]))
        return result

    def _at_once(self, backend: Backend, factor: int = 1) -> int:
        """How many images go through the stages at once, if each takes `factor` times its cost."""
        most = factor * total(self.stages).bytes
        if backend.host:  # small enough for caches; a device gains more from fewer launches
            return max(1, min(CHUNK, SCRATCH // most))
        return max(1, DEVICE_SCRATCH // most)

    def _accumulators(self, backend: Backend, images: Array) -> Array:
        """The input of the last stage; the dense layers before it run as one operation."""
        first, layers = dense_tail(self, self.stages, backend)
        x = self.after(images, first)
        return x if layers is None else backend.run(dense_layers, x, layers)


def pack(
    model: Layer,
    input_shape: tuple[int, ...] | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    numbers: bool = False,
) -> PackedModel:
    """Pack a trained model into bits and integers that give the same answers.

    .. code-block:: text

        input code    bit = low <= x <= high, in the input's own dtype
        weights       bits, 1 for +1, in words of 64
        products      of bits: width - 2 popcount(w xor x); of pixels: sums of +pixel and -pixel
        bias, batch norm and sign      bit = acc >= t, or acc <= t, an integer t for each channel
        last layer    score = A acc + B, integers in the order of the exact logits; a single score
                      is at least 0 where the exact logit is, which says class 1; with
                      `numbers`, score = round(2^shift a) acc + round(2^shift b): the exact output
                      a acc + b times 2^shift, in 32 bits

    More than bits, but exact too:

    .. code-block:: text

        weights       ternary, as two bits; multiples of one number, up to 127 times, as a byte
        levels        `DoReFaActivations` and `Heaviside`, as counts of thresholds
        branches      `Residual` and `Concatenate` of signs and levels, as whole numbers

    Rounded, with a bound (`PackedModel.bound`):

    .. code-block:: text

        weights       all others, as -127 to 127 and a scale for each channel
        real numbers  on shortcuts, and behind `PReLU`, `ReLU`, average pooling and batch norm
                      without a sign: fixed point, 16 bits

    Here acc is the accumulator, the integer sum of a product. Thresholds after a product of bits
    come from the model's own float layers, evaluated at every possible accumulator: with weights of
    +1 and -1 these bits always equal the model's. After a product of pixels, and with weights of
    other sizes (`MagnitudeAwareSign`), the model's sum is rounded in an order that depends on the
    BLAS, so thresholds come from exact arithmetic; `disagreements` counts the images for which that
    matters.

    Args:
        model: a trained model; it is not changed.
        input_shape: of one sample; None for the shape that the model was trained on.
        feature_names: of the values along the last axis of a sample.
        class_names: one for each output; two for a single output. These names travel with the
            model, in its file and in what is exported.
        numbers: whether the outputs are numbers, as of a model trained by `MeanSquaredError`, and
            not the scores of classes.

    Raises:
        PackError: for a layer or a value without a packed form; the message says what can be
            packed. Also for a model without an input code that was trained on anything but bytes
            (`InputContract`); for a model that was trained on another `input_shape`; if
            `input_shape` is None and the model does not know what it was trained on; and for a
            model that exceeds a limit of packed files (``docs/packed-format.md``).
        RuntimeError: for a model that was not initialised.
        ValueError: for another number of names, or two that are equal; for names of classes and
            `numbers`.
        TypeError: for names that are no strings.

    References: XNOR and popcount, Rastegari et al. 2016, arXiv:1603.05279, section 3.2; thresholds,
    Umuroglu et al. 2017 (FINN), arXiv:1612.07119, section 4.2.2.

    >>> from minibnn import Activation, Dense, Flatten, Rescale, Sequential, SignSTE
    >>> model = Sequential(
    ...     Flatten(),
    ...     Rescale(1 / 255),
    ...     Dense(784, 128, weight_quantizer=SignSTE()),
    ...     Activation(SignSTE()),
    ...     Dense(128, 10, weight_quantizer=SignSTE()),
    ... ).initialize(0)
    >>> packed = pack(model, (28, 28))
    >>> packed.predict(np.zeros((2, 28, 28), np.uint8)).shape
    (2,)
    >>> [stage.kind for stage in packed.stages]
    ['dense', 'threshold', 'dense', 'scores']
    """
    if not isinstance(model, Layer):
        raise TypeError(f"pack: expected a model, got {type(model).__name__}")
    if input_shape is not None:
        input_shape = check_shape("pack", "input_shape", input_shape)
    numbers = boolean("pack", "numbers", numbers)
    if numbers and class_names is not None:
        raise ValueError(
            "pack: expected class_names or numbers=True, got both; leave class_names out, "
            "or numbers"
        )
    input_shape, dtype = trained_input(model, input_shape)
    stages, certificate = _build(model, input_shape, dtype, numbers=numbers)
    return PackedModel(
        input_shape,
        stages,
        certificate,
        input_dtype=dtype,
        feature_names=_names("feature_names", feature_names, input_shape[-1]),
        class_names=_names("class_names", class_names, max(stages[-1].out_shape[-1], 2)),
        numbers=numbers,
    )


def _names(which: str, names: Sequence[str] | None, count: int) -> tuple[str, ...] | None:
    """So many different names, as a tuple."""
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"pack: expected {which} as strings, got {names!r}; write [str(n) for n in names]"
        )
    found = tuple(str(name) for name in names)
    if len(found) != count or len(set(found)) != count:
        got = f"{len(found)}" if len(found) != count else "two that are equal"
        raise ValueError(f"pack: expected {count} different {which}, got {got}")
    return found


def _build(
    model: Layer,
    input_shape: Shape,
    dtype: str,
    given: tuple[Stage, ...] | None = None,
    *,
    numbers: bool,
) -> tuple[tuple[Stage, ...], dict[str, Any]]:
    """The stages of a model, and a certificate of its thresholds.

    Args:
        model: to pack.
        input_shape: of one sample.
        dtype: of a sample.
        given: stages whose thresholds are certified, instead of new ones.
        numbers: see `pack`.

    Raises:
        PackError: as from `pack`, and if the given stages are of other kinds.
    """
    stages: list[Stage] = []
    certified, bound = [], None
    plan = lower(on_host(model), input_shape, dtype)
    steps = plan.steps
    _require_affordable(input_shape, steps)
    if given is not None and len(given) != len(steps):
        raise PackError(f"verify: expected {len(steps)} stages, got {len(given)}")
    for i, step in enumerate(steps):
        if isinstance(step, Stage):
            stages.append(step)
            continue
        fold, shape = step
        if fold.activation is None:
            ranked = None if numbers else ranked_scores(fold, shape)
            stages.append(ranked or precise_scores(fold, shape))
            if ranked is None or plan.error[: bounds.FLOAT].any():
                bound = bounds.of_outputs(fold, stages[-1], plan.error, ranked is None)  # type: ignore[arg-type]
            continue
        stage = given[i] if given is not None else fold.stage(shape)
        if not isinstance(stage, ThresholdStage | LevelStage) or not fold.fits(stage, shape):
            raise PackError(f"verify: expected thresholds as stage {i}, got {stage.kind}")
        certified.append({"stage": i, **fold.certify(stage)})
        stages.append(stage)
    certificate: dict[str, Any] = {"thresholds": certified}
    if bound is not None:
        if not np.isfinite(bound).all():
            raise PackError(
                "pack: expected a finite bound on the outputs, got parameters too far apart; train "
                "it with weight decay, or put a batch norm behind its last layer"
            )
        certificate["bound"] = dict(zip(("same_signs", "any_signs"), bound.tolist(), strict=True))
    return tuple(stages), certificate


def _require_affordable(input_shape: Shape, steps: list[Stage | tuple[Fold, Shape]]) -> None:
    """Raise PackError for a model that exceeds a limit, before thresholds are computed."""
    none = np.zeros(0, np.int64)
    stages: list[Stage] = []
    for step in steps:
        if isinstance(step, Stage):
            stages.append(step)
            continue
        fold, shape = step
        if fold.activation is None:
            numbers = none, none, 0, True, none, none
            stages.append(ScoreStage(shape, shape, *numbers, sources=fold.sources))
        elif fold.gives_levels:
            t = np.zeros((fold.product.channels, len(fold.changes)), np.int32)
            stages.append(LevelStage(shape, shape, t, none, sources=fold.sources))
        else:
            stages.append(ThresholdStage(shape, shape, none, none, sources=fold.sources))
    try:
        require_affordable(input_shape, tuple(stages))
    except ValueError as error:
        raise PackError(f"pack: {error}") from None


def on_host(model: Layer) -> Layer:
    """The model, or a copy of it in main memory."""
    return model if model.backend is CPU else copy.deepcopy(model).to("cpu")
