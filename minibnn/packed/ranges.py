"""The least and the greatest value that each stage of a program can give, channel by channel."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minibnn.packed.integer_stages import (
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
    HostArray,
    PoolStage,
    Product,
    ScoreStage,
    Shape,
    Stage,
    size_of,
    sources_of,
)

BLOCK = 2**18  # weights that are looked at at once


class Range(NamedTuple):
    """The least and the greatest value of each channel, (channels,) of int64."""

    low: HostArray
    high: HostArray

    def within(self, least: int, most: int) -> bool:
        """Whether no value is below `least` or above `most`."""
        return bool((self.low >= least).all() and (self.high <= most).all())

    def of_shape(self, before: Shape, after: Shape) -> Range:
        """The range of the same values as samples of another shape.

        Value i was of channel ``i % before[-1]`` and becomes one of channel ``i % after[-1]``. By
        the Chinese remainder theorem, a new channel has the values of all old ones that differ from
        it by multiples of the greatest common divisor.
        """
        if before[-1] == after[-1]:
            return self
        alike = math.gcd(before[-1], after[-1])
        low, high = self.low.reshape(-1, alike).min(0), self.high.reshape(-1, alike).max(0)
        return Range(*(np.tile(end, after[-1] // alike) for end in (low, high)))


def constant(low: int, high: int, channels: int) -> Range:
    """The same range for all channels."""
    # Views of one number: an image of one row may have millions of channels.
    return Range(*(np.broadcast_to(np.int64(end), (channels,)) for end in (low, high)))


def ranges(input_shape: Shape, stages: tuple[Stage, ...]) -> list[Range]:
    """The range of each stage's output; bits count as -1 and +1.

    Each range holds for all inputs. It need not be reached: a stage's channels are taken to be
    independent of each other.
    """
    found: list[Range] = []
    shapes = [input_shape, *(stage.out_shape for stage in stages)]
    for i, stage in enumerate(stages):
        # Of the input, only bytes are ever summed.
        sources = {
            j: (found[j] if j >= 0 else constant(0, 255, input_shape[-1]), shapes[j + 1])
            for j in sources_of(i, stage)
        }
        found.append(range_of(stage, taken_ranges(i, stage, sources)))
    return found


def taken_ranges(i: int, stage: Stage, sources: dict[int, tuple[Range, Shape]]) -> list[Range]:
    """The ranges of a stage's sources in the shapes in which it takes them.

    Args:
        i: the number of the stage.
        stage: the stage.
        sources: the range and the shape of each of its sources.
    """
    numbers = sources_of(i, stage)
    shapes = [stage.in_shape] * len(numbers)
    if isinstance(stage, ConcatStage):
        shapes = [(*stage.out_shape[:-1], part) for part in stage.parts]
    if isinstance(stage, Product):  # whose range does not depend on it; a row may be long
        return [sources[j][0] for j in numbers]
    return [
        sources[j][0].of_shape(sources[j][1], shape)
        for j, shape in zip(numbers, shapes, strict=True)
    ]


def range_of(stage: Stage, taken: list[Range]) -> Range:
    """The range of a stage's output, from those of its sources in the shape that it takes."""
    low, high = taken[0]
    if isinstance(stage, Product):
        return Range(*stage.reach())
    if isinstance(stage, IntegerProduct):
        return _sums(stage, taken[0])
    if isinstance(stage, PoolStage):
        return taken[0]
    if isinstance(stage, SumPoolStage):
        n = size_of(stage.size)
        return Range(low * n, high * n)
    if isinstance(stage, LevelStage):
        return constant(0, stage.thresholds.shape[1], len(stage.thresholds))
    if isinstance(stage, ScaleStage | SlopeStage):
        return _mapped(stage, taken[0])
    if isinstance(stage, AddStage):
        return Range(sum(r.low for r in taken), sum(r.high for r in taken))  # type: ignore[arg-type]
    if isinstance(stage, ConcatStage):
        return Range(*(np.concatenate(ends) for ends in zip(*taken, strict=True)))
    if isinstance(stage, ScoreStage):
        ends = stage.A * low + stage.B, stage.A * high + stage.B
        return Range(np.minimum(*ends), np.maximum(*ends))
    return constant(-1, 1, stage.out_shape[-1])  # bits


def rows_of(stage: Product | IntegerProduct, channels: HostArray) -> HostArray:
    """A number for each input channel, spread out like the rows of a product's weights.

    Shapes: channels (of the input,), the result (channels or 1, width).
    """
    if isinstance(stage, IntegerConv):
        by_group = np.repeat(
            channels.reshape(stage.groups, -1), stage.channels // stage.groups, axis=0
        )
        return np.tile(by_group, size_of(stage.size))
    return np.tile(channels, stage.width // len(channels))[None]


def largest_sum(stage: IntegerProduct | SumPoolStage, taken: Range) -> int:
    """An upper bound on the size of a sum, and of a sum of some of its terms in any order."""
    largest = np.maximum(abs(taken.low), abs(taken.high))
    if isinstance(stage, SumPoolStage):
        return int(largest.max()) * size_of(stage.size)
    if isinstance(stage, IntegerConv) and any(map(any, stage.border)):
        largest = np.maximum(largest, abs(stage.border_value))
    return int(_sums(stage, Range(-largest, largest)).high.max())


def _sums(stage: IntegerProduct, taken: Range) -> Range:
    low, high = taken
    groups = 1
    if isinstance(stage, IntegerConv):
        if any(map(any, stage.border)):
            low, high = np.minimum(low, stage.border_value), np.maximum(high, stage.border_value)
        groups = stage.groups
    low, high = (end.reshape(groups, -1) for end in (low, high))
    channels, ends = low.shape[1], []
    step = max(1, BLOCK // stage.width)
    for start in range(0, stage.channels, step):
        rows = np.arange(start, min(start + step, stage.channels))
        group = rows * groups // stage.channels
        # A channel has one range at all positions, so its weights are added up first.
        W = stage.weights[rows].reshape(len(rows), -1, channels)
        plus = np.maximum(W, 0).sum(axis=1, dtype=np.int64)
        minus = np.minimum(W, 0).sum(axis=1, dtype=np.int64)
        ends.append(
            [
                (plus * a[group] + minus * b[group]).sum(axis=1)
                for a, b in ((low, high), (high, low))
            ]
        )
    return Range(*(np.concatenate(end) for end in zip(*ends, strict=True)))


def _mapped(stage: ScaleStage | SlopeStage, taken: Range) -> Range:
    """Each stage is monotone on either side of 0, so the ends and 0 give the range."""
    low, high = taken
    values = [low, high]
    if isinstance(stage, SlopeStage):
        values.append(np.clip(0, low, high))
        images = [
            np.where(v > 0, v, (stage.A * v + 2 ** (stage.shift - 1)) >> stage.shift)
            for v in values
        ]
    else:
        images = [(stage.A * v + stage.B) >> stage.shift for v in values]
    return Range(np.minimum.reduce(images), np.maximum.reduce(images))
