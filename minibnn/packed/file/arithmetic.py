"""Whether the integers of a program fit into their types, for all inputs.

The least and greatest value of each stage follow from those of the stages before (`ranges`). They
take memory for each channel, so `costs` comes first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minibnn.packed.integer_stages import (
    LEAST,
    MOST,
    AddStage,
    IntegerProduct,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
)
from minibnn.packed.ranges import Range, constant, largest_sum, range_of, taken_ranges
from minibnn.packed.stages import ScoreStage, Shape, Stage, ThresholdStage, last_uses, sources_of

FACTOR = 2**31  # above the size of each factor of a scale or a slope
EXACT = 2**52  # above the size of what a scale shifts, so that JavaScript's numbers hold it


def with_checked_sizes(input_shape: Shape, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The stages, of which the scores know whether they fit into 32 bits.

    Raises:
        ValueError: for sums beyond 32 bits, numbers beyond 16 bits, thresholds that are out of
            reach by more than 1, scores beyond 62 bits, and factors that are too large.
    """
    checked, last = list(stages), last_uses(stages)
    # Of the input, only bytes are ever summed.
    found = {-1: constant(0, 255, input_shape[-1])}
    shapes = [input_shape, *(stage.out_shape for stage in stages)]
    for i, stage in enumerate(stages):
        sources = sources_of(i, stage)
        taken = taken_ranges(i, stage, {j: (found[j], shapes[j + 1]) for j in sources})
        for j in {*sources}:
            if last[j + 1] == i:
                del found[j]  # since all of them together would take much memory
        if isinstance(stage, ScoreStage):
            largest = stage.largest(*taken[0])
            if largest >= 2**62:
                raise ValueError(f"stage {i}: expected scores in 62 bits")
            checked[i] = replace(stage, fits_int32=largest < 2**31)
            continue
        _check(f"stage {i}", stage, taken)
        found[i] = range_of(stage, taken)
        if isinstance(stage, ScaleStage | SlopeStage) and not found[i].within(LEAST, MOST):
            raise ValueError(f"stage {i}: expected numbers in 16 bits")
    return tuple(checked)


def _check(where: str, stage: Stage, taken: list[Range]) -> None:
    low, high = taken[0]
    if isinstance(stage, IntegerProduct | SumPoolStage):
        if largest_sum(stage, taken[0]) >= 2**31:
            raise ValueError(f"{where}: expected sums that fit into int32")
    elif isinstance(stage, ThresholdStage | LevelStage):
        n = len(stage.thresholds)
        thresholds = stage.thresholds.reshape(n, -1)
        if (thresholds < low[:, None] - 1).any() or (thresholds > high[:, None] + 1).any():
            raise ValueError(f"{where}: expected thresholds within the sums' reach, or 1 beyond it")
    elif isinstance(stage, ScaleStage | SlopeStage):
        if stage.A.min() <= -FACTOR or stage.A.max() >= FACTOR:
            raise ValueError(f"{where}: expected factors below 2^31 in size")
        if isinstance(stage, ScaleStage):
            inside = stage.B.min() > -EXACT and stage.B.max() < EXACT
            most = abs(stage.A) * np.maximum(abs(low), abs(high)) + abs(stage.B)
            if not inside or most.max() >= EXACT:
                raise ValueError(f"{where}: expected A v + B below 2^52 in size")
    elif isinstance(stage, AddStage):
        below = above = np.zeros_like(low)
        for each in taken:
            below, above = below + each.low, above + each.high
            if not Range(below, above).within(LEAST, MOST):
                raise ValueError(f"{where}: expected sums of numbers in 16 bits")
