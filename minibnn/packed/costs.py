"""The cost of running a packed model, and its limits.

A file of a kilobyte can describe windows of gigabytes, so the cost of a program is limited, not
only the size of its file. `docs/packed-format.md` lists the limits for other readers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minibnn.bit_words import words_of
from minibnn.packed.stages import (
    Binarize,
    CodeStage,
    ConvStage,
    PoolStage,
    Product,
    ScoreStage,
    Shape,
    Stage,
    ThresholdStage,
    size_of,
)

PIXELS = 2**22  # of an image
STAGES = 1000
CHANNELS = 2**16  # of a product
CLASSES = 2**10  # each with its integers and floats
BYTES = 2**28  # of memory for one image in a stage
# Operations for one image: a constant, and more for each pixel and each byte of weights, up to a
# maximum. Networks of 3x3 convolutions with many channels take about a tenth of that.
OPERATIONS, A_PIXEL, A_BYTE, MOST_OPERATIONS = 2**20, 2**12, 2**10, 2**31
CALL = 2**10  # operations in the time of a NumPy call; each position of a window takes a call


class Cost(NamedTuple):
    """The cost of a stage for one image, in NumPy.

    Attributes:
        bytes: the peak of memory, including input and output, without the weights.
        operations: words of 64 bits compared, groups of 8 pixels added, values copied or compared.
    """

    bytes: int
    operations: int


def cost(stage: Stage) -> Cost:
    """The cost of one stage."""
    n, m = size_of(stage.in_shape), size_of(stage.out_shape)
    if isinstance(stage, Product):
        words = words_of(stage.width)
        positions = m // stage.channels
        steps = m * (-(-stage.width // 8) if stage.pixels else words)
        scratch = (12 if stage.pixels else 4) * m
        if not isinstance(stage, ConvStage):
            return Cost(9 * n + scratch, n + steps)
        rows = positions * (stage.width + 16 * words)
        height, width, channels = stage.in_shape
        (above, below), (left, right) = stage.border
        inside = (above + height + below) * (left + width + right) * channels
        gather = math.prod(stage.size) * (CALL + positions * channels)
        return Cost(n + inside + rows + scratch, inside + gather + steps)
    if isinstance(stage, PoolStage):
        return Cost(4 * n + 8 * m, math.prod(stage.size) * (CALL + m))
    if isinstance(stage, CodeStage):  # a gathered copy, and three arrays of bits
        return Cost(n * 4 + m * (np.dtype(stage.dtype).itemsize + 3), 2 * m)
    factor = 5 if isinstance(stage, Binarize) else 8 if isinstance(stage, ThresholdStage) else 28
    return Cost(factor * n, n)


def total(stages: tuple[Stage, ...]) -> Cost:
    """The largest bytes of any stage, and the operations of all stages."""
    costs = [cost(stage) for stage in stages]
    return Cost(max(c.bytes for c in costs), sum(c.operations for c in costs))


def require_affordable(input_shape: Shape, stages: tuple[Stage, ...]) -> None:
    """Raise ValueError for a program that exceeds a limit, with that limit."""
    pixels = size_of(input_shape)
    _require("an image", pixels, PIXELS, "pixels")
    _require("a model", len(stages), STAGES, "stages")
    weights = 0
    for i, stage in enumerate(stages):
        where = f"stage {i}, {stage.kind}"
        if isinstance(stage, Product):
            _require(where, stage.channels, CHANNELS, "channels")
            weights += stage.channels * stage.width // 8
        elif isinstance(stage, ScoreStage):
            _require(where, size_of(stage.out_shape), CLASSES, "classes")
        _require(where, cost(stage).bytes, BYTES, "bytes of memory for an image")
    most = min(OPERATIONS + A_PIXEL * pixels + A_BYTE * weights, MOST_OPERATIONS)
    what = f"operations for an image of {pixels:,} pixels with {weights:,} bytes of weights"
    _require("a model", total(stages).operations, most, what)


def _require(where: str, got: int, most: int, what: str) -> None:
    if got > most:
        raise ValueError(
            f"{where}: expected at most {most:,} {what}, got {got:,}; use smaller images or "
            "windows, larger strides, or fewer channels"
        )
