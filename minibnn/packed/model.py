"""From a trained model to a packed one, and what a packed one can do."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibnn.backend import CPU, Array, Backend, backend_of
from minibnn.checks import shape as check_shape
from minibnn.layers import Layer
from minibnn.packed.bits import flat_bits, narrowest
from minibnn.packed.costs import require_affordable, total
from minibnn.packed.dense_tail import dense_tail
from minibnn.packed.describe import describe, to_json
from minibnn.packed.errors import PackError
from minibnn.packed.fold import Fold, certificates
from minibnn.packed.inference import dense_layers
from minibnn.packed.input import trained_shape
from minibnn.packed.scores import score_stage
from minibnn.packed.stages import HostArray, Product, ScoreStage, Shape, Stage, ThresholdStage
from minibnn.packed.summary import PackedSummary, summarize
from minibnn.packed.walk import read

CHUNK = 256  # images at once on the host,
SCRATCH = 2**23  # or fewer, if so many take more bytes than this, which caches hold;
DEVICE_SCRATCH = 2**29  # on a device as many as take so many bytes


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A binary network as a small program on integers; made by `pack` or `load_packed`.

    Its stages are the whole model: run them one after another, with nothing in between, and the
    last one gives the scores. It runs where the images are, in NumPy or CuPy.

    Attributes:
        input_shape: of one image of uint8.
        stages: the program; `minibnn.packed.stages` says what each one is.
        certificate: for each threshold stage, how its thresholds were compared with the model, how
            many values that were, and the sha256 of the thresholds.
        training: figures about the model's training that somebody gave to `save_packed`.
    """

    input_shape: Shape
    stages: tuple[Stage, ...]
    certificate: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)

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
    def classes(self) -> int:
        """How many scores there are."""
        return len(self.scores.A)

    def predict(self, images: Array) -> Array:
        """The label of each image: the first class with the greatest score.

        Shapes: images (batch, *input_shape) of uint8; labels (batch,).

        Raises:
            TypeError: for images of another dtype.
            ValueError: for another shape.
        """
        return self._in_chunks(images, self.scores.labels, (), np.intp)

    def predict_scores(self, images: Array) -> Array:
        """The integer scores (batch, classes), int64; every form of the model gives the same."""
        return self._in_chunks(images, self.scores.run, (self.classes,), np.int64)

    def logits(self, images: Array) -> Array:
        """The output of the model that was packed, in float32, but for its order of rounding."""
        return self._in_chunks(images, self.scores.logits, (self.classes,), np.float32)

    def after(self, images: Array, stages: int) -> Array:
        """What so many stages make of a batch: bits, accumulators or scores.

        All images go at once, so memory grows with the batch; `predict` takes it in parts.
        """
        x = self._checked(images)
        for stage in self.stages[:stages]:
            x = stage.run(x)
        return x

    def verify(self, model: Layer) -> dict[str, Any]:
        """Repeat the certificate: is this `model`, bit for bit, on everything it can meet?

        Products must have the model's weights; the bits of every threshold stage are compared with
        the model's as in `Fold.certify`; the scores must be those that the model folds into.

        Returns:
            the certificate, made anew.

        Raises:
            TypeError: for what is no model.
            PackError: at the first difference.
        """
        if not isinstance(model, Layer):
            raise TypeError(f"verify: expected the model, got {type(model).__name__}")
        stages, certificate = _build(model, self.input_shape, self.stages)
        for own, other in zip(self.stages, stages, strict=True):
            if not same_stage(own, other):
                raise PackError(f"verify: expected the model's {other.kind} stage, got another")
        return certificate

    def file_arrays(self) -> dict[str, HostArray]:
        """What a file keeps: bits without padding, integers in as few bytes as hold them all."""
        arrays = {}
        for i, stage in enumerate(self.stages):
            for name, array in stage.arrays().items():
                if isinstance(stage, Product):
                    array = flat_bits(array, stage.width)
                elif name == "falling":
                    if not array.any():
                        continue  # thresholds mostly rise
                    array = np.packbits(array, bitorder="little")
                elif array.dtype.kind == "i":
                    array = narrowest(array)
                arrays[f"{i}.{name}"] = array
        return arrays

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays as a file keeps them, without the header.

        The weights take exactly the 1-bit bytes of ``model.summary()``. The rest differs, since
        other numbers ship: for each channel an integer threshold (2 or 4 bytes, and a bit if any
        channel falls) instead of the floats of bias and batch norm, and for each class A and B as
        integers and again as floats.
        """
        return sum(array.nbytes for array in self.file_arrays().values())

    @property
    def sha256(self) -> str:
        """Digest of the network alone, whatever its training figures: exports state it too.

        Of the architecture's JSON as in a file, and then of each array's name, dtype and bytes,
        little-endian, in the order of the names.
        """
        sha = hashlib.sha256(to_json(describe(self.input_shape, self.stages)).encode())
        for name, array in sorted(self.file_arrays().items()):
            little = array.astype(array.dtype.newbyteorder("<"))
            sha.update(f"{name} {little.dtype.str} ".encode() + little.tobytes())
        return sha.hexdigest()

    def summary(self) -> PackedSummary:
        """Sizes and costs, stage by stage: print it, or take its ``table``; its bytes are `nbytes`.

        >>> from minibnn import Dense, Rescale, Sequential, SignSTE
        >>> last = Dense(784, 10, weight_quantizer=SignSTE())
        >>> pack(Sequential(Rescale(1 / 255), last).initialize(0), (784,)).summary().bits
        7840
        """
        return summarize(self.input_shape, self.stages, self.file_arrays())

    def _checked(self, images: Array) -> Array:
        backend_of(images)
        if images.dtype != np.uint8:
            hint = "of whole numbers from 0 to 255, use images.astype('uint8')"
            raise TypeError(f"{self!r}: expected images of dtype uint8, got {images.dtype}; {hint}")
        if images.ndim < 1 or images.shape[1:] != self.input_shape:
            sizes = ", ".join(map(str, self.input_shape))
            hint = f"if only the axes differ, use images.reshape(-1, {sizes})"
            wanted = f"expected images of shape (batch, {sizes})"
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
        """How many images go through the stages at once, if each takes a multiple of its cost."""
        most = factor * total(self.stages).bytes
        if backend.host:  # which has caches to stay in, where a device has launches to save
            return max(1, min(CHUNK, SCRATCH // most))
        return max(1, DEVICE_SCRATCH // most)

    def _accumulators(self, backend: Backend, images: Array) -> Array:
        """What the last stage takes; dense layers before it go as one."""
        first, layers = dense_tail(self, self.stages, backend)
        x = self.after(images, first)
        return x if layers is None else backend.run(dense_layers, x, layers)


def pack(model: Layer, input_shape: tuple[int, ...] | None = None) -> PackedModel:
    """A trained model as bits and integers that give the same answer.

    .. code-block:: text

        weights       bits, 1 for +1, in words of 64
        products      of bits: width - 2 popcount(w xor x); of pixels: sums of +pixel and -pixel
        bias, batch norm and sign      bit = acc >= t, or acc <= t, an integer t for each channel
        last layer    score = A acc + B, integers that compare as the exact logits do

    Thresholds behind a product of bits come from the model's own float layers, asked for every
    accumulator that can be: with weights of +1 and -1 these bits are the model's always. Behind a
    product of pixels, and with weights of other sizes (`MagnitudeAwareSign`), they come from exact
    arithmetic, since the model's sum is rounded there in an order that depends on the BLAS;
    `disagreements` counts the images for which that matters.

    Args:
        model: in evaluation; it is left as it is.
        input_shape: of one image of uint8; None for the shape that the model was trained on.

    Raises:
        PackError: for a layer, or a value, that has no packed form; it says which, and what has.
            For a model that was trained on anything but bytes (`InputContract`), for another
            `input_shape` than it was trained on, and for None where that is not known. For a
            model that would cost more than a file may, by the limit (``docs/packed-format.md``).
        RuntimeError: for a model without values.

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
    input_shape = trained_shape(model, input_shape)
    stages, certificate = _build(model, input_shape)
    return PackedModel(input_shape, stages, certificate)


def _build(
    model: Layer, input_shape: Shape, given: tuple[Stage, ...] | None = None
) -> tuple[tuple[Stage, ...], dict[str, Any]]:
    """The stages of a model, and the certificate of its thresholds: found here, or those `given`.

    Raises:
        PackError: as `pack`, and if what is given has other stages.
    """
    stages: list[Stage] = []
    certified = []
    steps = read(on_host(model), input_shape).steps
    _require_affordable(input_shape, steps)
    if given is not None and len(given) != len(steps):
        raise PackError(f"verify: expected {len(steps)} stages, got {len(given)}")
    for i, step in enumerate(steps):
        if isinstance(step, Stage):
            stages.append(step)
            continue
        fold, shape = step
        if fold.activation is None:
            stages.append(score_stage(fold, shape))
            continue
        stage = given[i] if given is not None else fold.stage(shape)
        if not isinstance(stage, ThresholdStage) or not fold.fits(stage, shape):
            raise PackError(f"verify: expected thresholds as stage {i}, got {stage.kind}")
        certified.append({"stage": i, **fold.certify(stage)})
        stages.append(stage)
    return tuple(stages), {"thresholds": certified}


def _require_affordable(input_shape: Shape, steps: list[Stage | tuple[Fold, Shape]]) -> None:
    """Raise PackError for a model that no file may describe, before anything is computed."""
    none = np.zeros(0, np.int64)
    stages: list[Stage] = []
    for step in steps:
        if isinstance(step, Stage):
            stages.append(step)
            continue
        fold, shape = step
        if fold.activation is None:
            stages.append(ScoreStage(shape, shape, none, none, 0, True, none, none))
        else:
            stages.append(ThresholdStage(shape, shape, none, none))
    try:
        require_affordable(input_shape, tuple(stages))
    except ValueError as error:
        raise PackError(f"pack: {error}") from None


def on_host(model: Layer) -> Layer:
    """The model, or a copy of it in main memory."""
    return model if model.backend is CPU else copy.deepcopy(model).to("cpu")


def check_certificate(packed: PackedModel) -> None:
    """Raise PackError unless the certificate is one that `pack` gives with these thresholds."""
    certificate, known = packed.certificate, []
    for i, stage in enumerate(packed.stages):
        if isinstance(stage, Product):
            product = stage
        elif isinstance(stage, ThresholdStage):
            known.append([to_json({"stage": i, **e}) for e in certificates(product, stage)])
    entries = certificate.get("thresholds") if type(certificate) is dict else None
    if (
        type(entries) is not list
        or len(certificate) > 1
        or len(entries) != len(known)
        or not all(to_json(e) in texts for e, texts in zip(entries, known, strict=True))
    ):
        raise PackError("expected a certificate of these thresholds, got another")


def same_stage(one: Stage, other: Stage) -> bool:
    """Whether two stages do the same by the same numbers."""
    return _description(one) == _description(other) and all(
        np.array_equal(a, other.arrays()[name]) for name, a in one.arrays().items()
    )


def _description(stage: Stage) -> dict[str, Any]:
    """Everything about a stage but its arrays."""
    values = {k: v for k, v in vars(stage).items() if not isinstance(v, np.ndarray)}
    return {"kind": stage.kind, **values}
