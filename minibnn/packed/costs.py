"""The cost of running a packed model, and its limits.

A file of a kilobyte can describe windows of gigabytes, so the cost of a program is limited, not
only the size of its file. `docs/packed-format.md` lists the limits for other readers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minibnn.bit_words import words_of
from minibnn.packed.bits import BLOCK
from minibnn.packed.integer_stages import (
    INTEGER_STAGES,
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerProduct,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
)
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
    last_uses,
    size_of,
    sources_of,
)

PIXELS = 2**22  # of an image
STAGES = 1000
SOURCES = 1000  # of a stage
CHANNELS = 2**16  # of a product
RANGES = 2**22  # channels of all sources of stages on integers, whose ranges are computed
CLASSES = 2**10  # each with its integers and floats
BYTES = 2**28  # of memory for one image in a stage
# Operations for one image: a constant, and more for each pixel and each byte of weights (as the
# stages hold them: a bit, or a byte on integers), up to a maximum. Networks of 3x3 convolutions
# with many channels take about a tenth of that.
OPERATIONS, A_PIXEL, A_BYTE, MOST_OPERATIONS = 2**20, 2**12, 2**10, 2**31
CALL = 2**10  # operations in the time of a NumPy call; each position of a window takes a call


class Cost(NamedTuple):
    """The cost of a stage for one image, in NumPy.

    Attributes:
        bytes: the peak of memory, including input and output, without the weights.
        operations: words of 64 bits compared, groups of 8 pixels or 4 numbers added, values copied
            or compared.
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
    if isinstance(stage, IntegerProduct):
        return _integer_product(stage, n, m)
    if isinstance(stage, SumPoolStage):
        return Cost(5 * n + 4 * m, n + math.prod(stage.size) * (CALL + m))
    if isinstance(stage, LevelStage):
        return Cost(9 * n, stage.thresholds.shape[1] * (CALL + 2 * n))
    if isinstance(stage, ScaleStage | SlopeStage):  # three arrays of 64 bits
        return Cost(30 * n, 4 * n)
    if isinstance(stage, AddStage | ConcatStage):
        sources = max(1, len(stage.sources))
        if isinstance(stage, ConcatStage):
            return Cost(4 * m, sources * CALL + m)
        return Cost((2 * len({*stage.sources}) + 4) * n, sources * (CALL + n))
    factor = 5 if isinstance(stage, Binarize) else 8 if isinstance(stage, ThresholdStage) else 28
    return Cost(factor * n, n)


def _integer_product(stage: IntegerProduct, n: int, m: int) -> Cost:
    """Its weights become floats each time: that counts as operations, not as bytes."""
    copies = stage.channels * stage.width
    products = m * -(-stage.width // 4)
    if not isinstance(stage, IntegerConv):
        return Cost(14 * n + 16 * m, n + copies + products)
    positions = m // stage.channels
    height, width, channels = stage.in_shape
    (above, below), (left, right) = stage.border
    inside = (above + height + below) * (left + width + right) * channels
    # A group's rows and sums still exist when the next group's are computed.
    rows = 2 * positions * stage.width * min(stage.groups, 2)
    block = min(positions, max(1, BLOCK // stage.width))
    floats = block * (8 * stage.width + 12 * stage.channels // stage.groups)
    gather = math.prod(stage.size) * (CALL * stage.groups + positions * channels)
    calls = 8 * CALL * stage.groups
    scratch = floats + 4 * m + 8 * (m // stage.groups)
    return Cost(5 * n + 2 * inside + rows + scratch, inside + gather + calls + copies + products)


def total(stages: tuple[Stage, ...]) -> Cost:
    """The largest bytes at any stage, with values that later ones need; all stages' operations."""
    return Cost(max(memory(stages)), sum(cost(stage).operations for stage in stages))


def memory(stages: tuple[Stage, ...]) -> list[int]:
    """The bytes at each stage for one image: its own, and values that are kept for later ones."""
    sizes, last, peaks = _value_bytes(stages), last_uses(stages), []
    kept = sizes[0]
    for i, stage in enumerate(stages):
        taken = {j + 1 for j in sources_of(i, stage)}
        peaks.append(cost(stage).bytes + kept - sum(sizes[j] for j in taken))
        kept += sizes[i + 1] - sum(sizes[j] for j in taken if last[j] == i)
    return peaks


def _value_bytes(stages: tuple[Stage, ...]) -> list[int]:
    """The bytes of the input and of each stage's output, for one image."""
    codes = [np.dtype(stage.dtype).itemsize for stage in stages if isinstance(stage, CodeStage)]
    items, sizes = [max(codes, default=1)], [size_of(stages[0].in_shape)]
    for i, stage in enumerate(stages):
        if isinstance(stage, Product | IntegerProduct | SumPoolStage):
            item = 4
        elif isinstance(stage, LevelStage | ScaleStage | SlopeStage | AddStage):
            item = 2
        elif isinstance(stage, PoolStage | ConcatStage):  # as what it takes
            item = items[sources_of(i, stage)[0] + 1]
        else:
            item = 8 if isinstance(stage, ScoreStage) else 1
        items.append(item)
        sizes.append(size_of(stage.out_shape))
    return [item * size for item, size in zip(items, sizes, strict=True)]


def require_affordable(input_shape: Shape, stages: tuple[Stage, ...]) -> None:
    """Raise ValueError for a program that exceeds a limit, with that limit."""
    pixels = size_of(input_shape)
    _require("an image", pixels, PIXELS, "pixels")
    _require("a model", len(stages), STAGES, "stages")
    weights = channels = 0
    for i, (stage, peak) in enumerate(zip(stages, memory(stages), strict=True)):
        where = f"stage {i}, {stage.kind}"
        if isinstance(stage, Product | IntegerProduct):
            _require(where, stage.channels, CHANNELS, "channels")
            each = stage.channels * stage.width
            weights += each // 8 if isinstance(stage, Product) else each
        elif isinstance(stage, ScoreStage):
            _require(where, size_of(stage.out_shape), CLASSES, "classes")
        if isinstance(stage, INTEGER_STAGES):
            sources = len(sources_of(i, stage))
            _require(where, sources, SOURCES, "sources")
            channels += stage.in_shape[-1] * sources + stage.out_shape[-1]
        _require(where, peak, BYTES, "bytes of memory for an image")
    _require("a model", channels, RANGES, "channels that stages on integers take and give")
    most = min(OPERATIONS + A_PIXEL * pixels + A_BYTE * weights, MOST_OPERATIONS)
    what = f"operations for an image of {pixels:,} pixels with {weights:,} bytes of weights"
    _require("a model", total(stages).operations, most, what)


def _require(where: str, got: int, most: int, what: str) -> None:
    if got > most:
        raise ValueError(
            f"{where}: expected at most {most:,} {what}, got {got:,}; use smaller images or "
            "windows, larger strides, or fewer channels"
        )
