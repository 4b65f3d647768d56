"""Count where a model's rounding makes it differ from its packed form, and which one is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.html_tables import html_line, html_report, html_table
from minibnn.layers import Layer
from minibnn.packed.compile.exact import Line, compare
from minibnn.packed.compile.fold import Fold
from minibnn.packed.compile.lower import lower
from minibnn.packed.compile.plan import Plan, Sign, layers_of
from minibnn.packed.errors import PackError
from minibnn.packed.inference import labels_of
from minibnn.packed.model import CHUNK, PackedModel, on_host
from minibnn.packed.stages import HostArray, Shape, Stage, same_stage


@dataclass
class LayerDisagreement:
    """Differences in one layer, when both models take the packed bits of the layer before.

    Attributes:
        where: the layer.
        values: how many bits differ, or at the last layer how many labels.
        images: the number of images in which they differ.
        packed_right: of those values, the number that are exact in the packed model.
        float_right: likewise in the float model.
    """

    where: str
    values: int = 0
    images: int = 0
    packed_right: int = 0
    float_right: int = 0


@dataclass(repr=False)
class Disagreements:
    """The result of `disagreements`; prints as a list.

    Attributes:
        images: the number of images compared.
        labels: the number of images with different labels.
        bits: the number of images in which some bit after a sign differs, layer by layer.
        unexplained: the number of images with different labels although all layers agree; anything
            but 0 is a defect.
        layers: the differences in each layer; none for a model with branches or rounded values.
        largest: the largest difference of outputs.
        bound: `PackedModel.bound`.
        beyond: the number of images whose outputs differ by more: in those the model's own floats
            round a sign or a level to the other side.
    """

    images: int
    labels: int = 0
    bits: int = 0
    unexplained: int = 0
    layers: list[LayerDisagreement] = field(default_factory=list)
    largest: float = 0.0
    bound: float | None = None
    beyond: int = 0

    @property
    def packed_is_right(self) -> bool:
        """Whether every difference comes from the float model's rounding.

        Then nothing is unexplained, and wherever values differ, the packed one is exact. A model
        with branches or rounded values is compared as a whole; of such a one, the packed integers
        are the definition.
        """
        return not self.unexplained and all(r.packed_right == r.values for r in self.layers)

    def __repr__(self) -> str:
        lines = [self._head()]
        for layer in self.layers:
            lines.append(
                f"  {layer.where}: {layer.values:,} values in {layer.images:,} images; packed "
                f"right {layer.packed_right:,}, float right {layer.float_right:,}"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = ["layer", "values that differ", "in images", "packed right", "float right"]
        rows = [
            [r.where, *(f"{n:,}" for n in (r.values, r.images, r.packed_right, r.float_right))]
            for r in self.layers
        ]
        return html_report(html_line(self._head()), *([html_table(head, rows)] if rows else []))

    def _head(self) -> str:
        labels = f"{self.images:,} images: {self.labels:,} with another label"
        if self.layers:
            return f"{labels}, {self.bits:,} with another bit"
        bound = "" if self.bound is None else f", bound {self.bound:.6g}"
        bound += f", exceeded in {self.beyond:,} images" * (self.beyond > 0)
        return f"{labels}; outputs differ by {self.largest:.6g} at most{bound}"


def disagreements(model: Layer, packed: PackedModel, images: Array) -> Disagreements:
    """Count where the float model rounds to another bit or label, and which side is right.

    A sum of rescaled pixels is rounded in an order that depends on the BLAS, so a value on or near
    the threshold may come out on the wrong side. Each layer of the model gets the same bits as its
    packed form, so a difference does not count again in later layers. The right side is the one
    that agrees with exact arithmetic on the pixels, the weights and the parameters.

    A model with branches, fixed-point numbers or rounded weights is compared as a whole: by its
    labels, and by the outputs and their bound.

    Args:
        model: the model that was packed.
        packed: its packed form.
        images: ``(batch, *input_shape)`` of the packed model's dtype, on the model's device.

    Raises:
        TypeError: for arguments of other types, and images of another dtype.
        ValueError: for images of another shape.
        PackError: for a model with other layers or weights than the packed one's.

    >>> from minibnn import load_sample, pack
    >>> from minibnn.recipes import RECIPES
    >>> model = RECIPES["seed"]().build().initialize(0)
    >>> found = disagreements(model, pack(model, (28, 28)), load_sample().test_images[:100])
    >>> found.images, found.unexplained
    (100, 0)
    """
    if not isinstance(model, Layer) or not isinstance(packed, PackedModel):
        got = f"{type(model).__name__} and {type(packed).__name__}"
        raise TypeError(f"disagreements: expected a model and its PackedModel, got {got}")
    packed._checked(images)
    plan = lower(on_host(model), packed.input_shape, packed.input_dtype)
    # Exact arithmetic starts from the packed sums, so the products must be the model's. Thresholds
    # and scores may differ, which is then counted. Both end in scores, so the lengths agree, too.
    if not all(map(_are_one, packed.stages, plan.steps)):
        raise PackError("disagreements: expected the model that was packed, got another")
    if not plan.line or packed.bound is not None:
        return _of_outputs(model, packed, images)
    names = [step[0].where for step in plan.steps if not isinstance(step, Stage)]
    found = Disagreements(len(images), layers=[LayerDisagreement(where) for where in names])
    # Floats take four times the bytes, so with large windows there are fewer images at once.
    step = min(CHUNK, packed._at_once(backend_of(images), 2))
    for start in range(0, len(images), step):
        _count(model, plan, packed, images[start : start + step], found)
    return found


def _of_outputs(model: Layer, packed: PackedModel, images: Array) -> Disagreements:
    """The comparison of whole models."""
    found = Disagreements(len(images), bound=packed.bound)
    host = backend_of(images).to_host
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        theirs = host(model.forward(part)).astype(np.float64)
        off = abs(host(packed.logits(part)) - theirs).max(axis=1)
        found.labels += int((host(packed.predict(part)) != labels_of(theirs)).sum())
        found.largest = max(found.largest, float(off.max()))
        if packed.bound is not None:
            found.beyond += int((off > packed.bound).sum())
    return found


def _are_one(stage: Stage, step: Stage | tuple[Fold, Shape]) -> bool:
    """Whether a stage is this step of a plan; thresholds and scores are not compared."""
    return same_stage(stage, step) if isinstance(step, Stage) else step[0].fits(stage, step[1])


def _count(
    model: Layer, plan: Plan, packed: PackedModel, images: Array, found: Disagreements
) -> None:
    """Add the counts of a batch."""
    layers = [layer for _, layer in layers_of(model)]
    host = backend_of(images).to_host
    differs = np.zeros(len(images), bool)  # in any layer
    x = state = images
    begin = Sign(0, 0, 0)
    for sign, row in zip(plan.signs, found.layers, strict=False):  # the last row is the labels'
        y = _run(layers[begin.layers : sign.layers], x)
        acc = _run_stages(packed, state, begin.steps, sign.fold)
        state = _run_stages(packed, acc, sign.fold, sign.steps)
        unit = None if sign.unit is None else float(sign.unit)
        ours = host(state).reshape(y.shape)
        theirs = host(y) > 0 if unit is None else np.rint(host(y) / unit)
        rows = _differing(ours, theirs)
        if len(rows):
            exact = _exact_bits(plan, sign, host(acc)[rows]).reshape(len(rows), *y.shape[1:])
            _note(row, ours[rows], theirs[rows], exact)
        differs[rows] = True
        # The next layer takes the packed layers' bits, as +1 and -1, or levels.
        values = state.astype(y.dtype)
        x = (values * 2 - 1 if unit is None else values / y.dtype.type(1 / unit)).reshape(y.shape)
        begin = sign
    found.bits += int(differs.sum())

    acc = _run_stages(packed, state, begin.steps, len(packed.stages) - 1)
    ours = labels_of(host(packed.scores.run(acc)))
    theirs = labels_of(host(_run(layers[begin.layers :], x)))
    rows = _differing(ours, theirs)
    if len(rows):
        last = plan.steps[-1]
        lines = last[0].lines if isinstance(last, tuple) else ()
        exact = np.array([_exact_label(lines, row) for row in host(acc)[rows].tolist()])
        _note(found.layers[-1], ours[rows], theirs[rows], exact)
    differs[rows] = True
    labels = labels_of(host(model.forward(images))) != ours
    found.labels += int(labels.sum())
    found.unexplained += int((labels & ~differs).sum())


def _run(layers: Sequence[Layer], x: Array) -> Array:
    for layer in layers:
        x = layer.forward(x)
    return x


def _run_stages(packed: PackedModel, x: Array, start: int, stop: int) -> Array:
    for stage in packed.stages[start:stop]:
        x = stage.run(x)
    return x


def _differing(ours: HostArray, theirs: HostArray) -> HostArray:
    """The indices of the samples that differ."""
    return np.flatnonzero((ours != theirs).reshape(len(ours), -1).any(axis=1))


def _note(row: LayerDisagreement, ours: HostArray, theirs: HostArray, exact: HostArray) -> None:
    """Add up the differing values of some samples."""
    differ = ours != theirs
    row.values += int(differ.sum())
    row.images += len(ours)
    row.packed_right += int((differ & (ours == exact)).sum())
    row.float_right += int((differ & (theirs == exact)).sum())


def _exact_bits(plan: Plan, sign: Sign, acc: HostArray) -> HostArray:
    """The exact bits after a sign, including the pools that follow it."""
    step = plan.steps[sign.fold]
    fold: Fold = step[0]  # type: ignore[index]
    n = fold.product.channels

    @cache
    def bit(channel: int, value: int) -> int:
        return fold.value(channel, value)

    values = acc.reshape(-1, n).tolist()
    bits = np.array([[bit(c, v) for c, v in enumerate(row)] for row in values], np.uint8)
    x = bits.reshape(acc.shape)
    for stage in plan.steps[sign.fold + 1 : sign.steps]:
        x = stage.run(x)  # type: ignore[union-attr]
    return x


def _exact_label(lines: Sequence[Line], acc: Sequence[int]) -> int:
    """The first class with the greatest logit; for a single one, whether it is at least 0."""
    if len(lines) == 1:
        return int(lines[0].sign(acc[0]) >= 0)
    best = 0
    for c in range(1, len(lines)):
        if compare(lines[c], acc[c], lines[best], acc[best]) > 0:
            best = c
    return best
