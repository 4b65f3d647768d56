"""A small program of all kinds of stages on integers, and files of programs without a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minibnn.packed.bits import pack_rows
from minibnn.packed.file.load import possible_entries
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
)
from minibnn.packed.model import PackedModel
from minibnn.packed.stages import (
    ConvStage,
    ScoreStage,
    ThresholdStage,
)

KINDS = [
    "conv", "threshold", "integer_conv", "levels", "scale", "add", "slope", "concat", "sum_pool",
    "scale", "integer_dense", "scores",
]  # fmt: skip
NUMBER = {kind: i for i, kind in enumerate(KINDS) if kind != "scale"}  # of the stage of a kind
NUMBER |= {"scale of bits": 4, "scale of sums": 9}


def every_kind() -> PackedModel:
    """Each kind once, scales twice; ternary weights in groups, bytes, and three branches."""
    rng = np.random.default_rng(0)
    image, size, once = (3, 3, 4), (2, 2), (1, 1)
    words = pack_rows(rng.integers(0, 2, (4, 8), np.uint8))
    none = (0, 0), (0, 0)
    conv = ConvStage((4, 4, 2), image, words, 8, True, size, once, once, none, 0)
    low, high = conv.reach()
    middle, falling = ((low + high) // 2).astype(np.int32), np.array([False, True, False, False])
    ternary = rng.choice([-1, 0, 1], (4, 8)).astype(np.int8)
    levels = np.array([[-2, 0, 3], [1, 1, 2], [3, 1, -3], [-1, 0, 4]], np.int32)
    numbers = rng.integers(-127, 128, (3, 8)).astype(np.int8)
    floats = rng.normal(size=(2, 3)).astype(np.float32)
    ones = np.ones(4, np.int64)
    stages = (
        conv,
        ThresholdStage(image, image, middle, falling),
        IntegerConv(
            image, image, ternary, "bits", size, once, once, ((1, 0), (0, 1)), -1, 2
        ),
        LevelStage(image, image, levels, np.array([False, False, True, False])),
        ScaleStage(image, image, "bits", ones * 5, ones * 3, 1, sources=(1,)),
        AddStage(image, image, sources=(3, 4)),
        SlopeStage(image, image, np.array([0, 64, -32, 300]), 8),
        ConcatStage(image, (3, 3, 8), (4, 4), sources=(6, 3)),
        SumPoolStage((3, 3, 8), (1, 1, 8), "numbers", (3, 3), once),
        ScaleStage(
            (1, 1, 8), (1, 1, 8), "acc", rng.integers(-(2**17), 2**17, 8), np.arange(8), 12
        ),
        IntegerDense((8,), (3,), numbers, "numbers"),
        ScoreStage(
            (3,), (3,), np.array([3, -70_000, 5]), np.array([0, 2**40, -1]), 7, False, *floats
        ),
    )  # fmt: skip
    assert [stage.kind for stage in stages] == KINDS
    return certified(PackedModel((4, 4, 2), stages, {}))


def certified(packed: PackedModel) -> PackedModel:
    """The program with a certificate, as if there were a model."""
    entries = [possible[0] for possible in possible_entries(packed)]
    return replace(packed, certificate={"thresholds": entries})
