"""A model as a program whose thresholds and scores are still to be found; made by `lower.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from minibnn.backend import Array
from minibnn.functions import Function, sign
from minibnn.layers import DirectFeedback, Layer, Sequential
from minibnn.layers.weighted import Weighted
from minibnn.packed.compile.values import Steps
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
)
from minibnn.packed.stages import HostArray, Stage


@dataclass(frozen=True)
class Sign:
    """A position just after a sign, at which the bits of model and program can be compared.

    Attributes:
        layers: the number of the model's layers up to there.
        steps: the number of the program's steps up to there.
        fold: the index of the step that is this sign's `Fold`.
        unit: the step from one level to the next; None for a sign.
    """

    layers: int
    steps: int
    fold: int
    unit: Fraction | None = None


@dataclass(eq=False)
class Plan(Steps):
    """A model as a program without thresholds and scores.

    Its `steps` are stages, and in place of each threshold stage, of levels, and of the scores, a
    `Fold` with the shape of a sample there.

    Attributes:
        signs: the signs and levels after products, in order, outside of branches.
        error: of the outputs; see `bounds`.
    """

    signs: list[Sign] = field(default_factory=list)
    error: HostArray = field(default_factory=lambda: np.zeros((3, 0)))

    @property
    def line(self) -> bool:
        """Whether the model has no branches, and the program no fixed-point numbers."""
        stages = [step for step in self.steps if isinstance(step, Stage)]
        numbers = AddStage, ConcatStage, ScaleStage, SlopeStage, SumPoolStage
        if any(stage.sources or isinstance(stage, numbers) for stage in stages):
            return False
        return len(stages) + len(self.signs) + 1 == len(self.steps)  # a branch alone has signs


def layers_of(model: Layer) -> Iterator[tuple[str, Layer]]:
    """The layers in the order of evaluation, with paths; a container is replaced by its layers."""
    if type(model) in (Sequential, DirectFeedback):
        for name, child in model.named_children():
            for path, layer in layers_of(child):
                yield f"{name}.{path}".rstrip("."), layer
    else:
        yield "", model


def is_sign(function: Function, dtype: np.dtype[Any]) -> bool:
    """Whether a function in evaluation is +1 where ``x >= 0`` and -1 elsewhere.

    It is tested on numbers of every magnitude of the dtype, including both zeros; and twice, on
    different arrays, since a value may depend on the whole array.
    """
    info = np.finfo(dtype)
    sizes = np.ldexp(np.ones(1, dtype), np.arange(info.minexp - info.nmant, info.maxexp))
    sizes = np.concatenate([sizes, 1.5 * sizes, np.linspace(0, 4, 4097, dtype=dtype)])
    x = np.concatenate([sizes, -sizes]).astype(dtype)[None]
    for part in (x, x[:, ::-3]):
        with np.errstate(all="ignore"):
            y = function.forward(part.copy())
        if y.shape != part.shape or not bool((y == sign(part)).all()):
            return False
    return True


def quantizer_flaw(layer: Weighted, Wq: Array) -> tuple[str, str] | None:
    """Why a layer's weights in evaluation may not be its only ones, with a hint; or None."""
    function = layer.weight_quantizer
    if not np.array_equal(Wq, layer.quantized_weight(False)):
        return (
            f"{function!r} gives other weights each time it is asked, so there is no one model",
            "let its forward draw and count nothing; train_forward may",
        )
    return None
