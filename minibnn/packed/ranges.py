"""The least and the greatest value that each stage of a program can give, channel by channel."""

from __future__ import annotations

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


class Range(NamedTuple):
    """The least and the greatest value of each channel, (channels,) of int64."""

    low: HostArray
    high: HostArray

    def within(self, least: int, most: int) -> bool:
        """Whether no value is below `least` or above `most`."""
        return bool((self.low >= least).all() and (self.high <= most).all())

    def of_shape(self, before: Shape, after: Shape) -> Range:
        """The range of the same values as samples of another shape."""
        if before[-1] == after[-1]:
            return self
        low, high = (np.broadcast_to(end, before).reshape(-1, after[-1]) for end in self)
        return Range(low.min(axis=0), high.max(axis=0))


def constant(low: int, high: int, channels: int) -> Range:
    """The same range for all channels."""
    return Range(np.full(channels, low, np.int64), np.full(channels, high, np.int64))


def ranges(input_shape: Shape, stages: tuple[Stage, ...]) -> list[Range]:
    """The range of each stage's output; bits count as -1 and +1.

    Each range holds for all inputs. It need not be reached: a stage's channels are taken to be
    independent of each other.
    """
    found: list[Range] = []
    shapes = [input_shape, *(stage.out_shape for stage in stages)]
    for i, stage in enumerate(stages):
        taken = []
        for k, j in enumerate(sources_of(i, stage)):
            # Of the input, only bytes are ever summed.
            source = found[j] if j >= 0 else constant(0, 255, input_shape[-1])
            shape = stage.in_shape
            if isinstance(stage, ConcatStage):
                shape = (*stage.out_shape[:-1], stage.parts[k])
            taken.append(source.of_shape(shapes[j + 1], shape))
        found.append(range_of(stage, taken))
    return found


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


def _sums(stage: IntegerProduct, taken: Range) -> Range:
    low, high = taken
    if isinstance(stage, IntegerConv) and any(map(any, stage.border)):
        low, high = np.minimum(low, stage.border_value), np.maximum(high, stage.border_value)
    W = stage.weights.astype(np.int64)
    ends = W * rows_of(stage, low), W * rows_of(stage, high)
    return Range(np.minimum(*ends).sum(axis=-1), np.maximum(*ends).sum(axis=-1))


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
