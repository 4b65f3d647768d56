"""Random programs of every kind of stage, made of stages without a model.

`random_program` needs no trained network, so it reaches shapes and numbers that training does not.
"""

from __future__ import annotations

import math

import numpy as np

from minibnn.packed.bits import pack_rows
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
from minibnn.packed.ranges import constant, range_of
from minibnn.packed.stages import (
    ConvStage,
    DenseStage,
    PoolStage,
    ScoreStage,
    ThresholdStage,
)

NO_BORDER = ((0, 0), (0, 0))


class Builder:
    """A program that grows; the current value is the output of stage `here`, -1 for the input."""

    def __init__(self, rng, shape):
        self.rng, self.input_shape = rng, shape
        self.stages, self.ranges, self.shapes, self.kinds = [], [], [], []
        self.here = -1

    # --- the value of a stage --------------------------------------------------------------------

    @property
    def shape(self):
        return self.shapes[self.here] if self.here >= 0 else self.input_shape

    @property
    def kind(self):
        return self.kinds[self.here] if self.here >= 0 else "pixels"

    def range(self, j=None):
        j = self.here if j is None else j
        return self.ranges[j] if j >= 0 else constant(0, 255, self.input_shape[-1])

    def sources(self, *at):
        """As short as the format wants it: nothing for the stage before."""
        at = at or (self.here,)
        return () if at == (len(self.stages) - 1,) else at

    def add(self, stage, kind, taken=None):
        if taken is None:
            taken = [self.range().of_shape(self.shape, stage.in_shape)]
        self.ranges.append(range_of(stage, taken))
        self.stages.append(stage)
        self.shapes.append(stage.out_shape)
        self.kinds.append(kind)
        self.here = len(self.stages) - 1

    # --- products --------------------------------------------------------------------------------

    def weights(self, channels, width, sort=None):
        """Bits, ternary or bytes; small enough for the sums."""
        sort = sort or self.rng.choice(["bits", "ternary", "bytes"])
        if sort == "bits":
            return self.rng.choice([-1, 1], (channels, width)).astype(np.int8)
        if sort == "ternary":
            return self.rng.choice([-1, 0, 1], (channels, width)).astype(np.int8)
        most = int(self.rng.choice([2, 15, 127]))
        W = self.rng.integers(-most, most + 1, (channels, width)).astype(np.int8)
        W[0, 0] = 2  # so that no plane of bits holds them
        return W

    def conv(self, channels, size, stride=(1, 1), dilation=(1, 1), border=NO_BORDER, groups=1):
        height, width, depth = self.shape
        counts = []
        for n, b, k, s, d in zip((height, width), border, size, stride, dilation, strict=True):
            counts.append((n + sum(b) - (k - 1) * d - 1) // s + 1)
        takes = self.kind
        rows = math.prod(size) * depth // groups
        out = (*counts, channels)
        if groups == 1 and takes != "numbers" and self.rng.integers(3) == 0:
            words = pack_rows(self.rng.integers(0, 2, (channels, rows), np.uint8))
            value = int(self.rng.integers(0, 256 if takes == "pixels" else 2))
            self.add(
                ConvStage(self.shape, out, words, rows, takes == "pixels", size, stride, dilation,
                          border, value, sources=self.sources()), "acc",
            )  # fmt: skip
            return
        value = {"pixels": 200, "bits": int(self.rng.integers(-1, 2)), "numbers": 0}[takes]
        if takes == "numbers" and self.rng.integers(2):
            value = int(self.rng.integers(-3, 4))
        value = value if any(map(any, border)) else 0
        self.add(
            IntegerConv(self.shape, out, self.weights(channels, rows), takes, size, stride,
                        dilation, border, value, groups, sources=self.sources()), "acc",
        )  # fmt: skip

    def dense(self, channels):
        n = math.prod(self.shape)
        if self.kind == "numbers" or self.rng.integers(2):
            stage = IntegerDense(
                (n,), (channels,), self.weights(channels, n), self.kind, sources=self.sources()
            )
        else:
            words = pack_rows(self.rng.integers(0, 2, (channels, n), np.uint8))
            stage = DenseStage(
                (n,), (channels,), words, n, self.kind == "pixels", sources=self.sources()
            )
        self.add(stage, "acc")

    # --- from sums -------------------------------------------------------------------------------

    def near(self, count):
        """Thresholds about where sums are, rising, within their range or 1 beyond."""
        low, high = self.range()
        middle, spread = (low + high) / 2, np.maximum((high - low) / 12, 2)
        t = self.rng.normal(middle[:, None], spread[:, None], (len(low), count)).round()
        t = np.clip(t, low[:, None] - 1, high[:, None] + 1)
        return np.sort(t, axis=1).astype(np.int32)

    def threshold(self):
        t = self.near(1)[:, 0]
        falling = self.rng.integers(0, 2, len(t)).astype(bool) & bool(self.rng.integers(2))
        self.add(ThresholdStage(self.shape, self.shape, t, falling, sources=self.sources()), "bits")

    def levels(self):
        t = self.near(int(self.rng.choice([1, 3, 7, 15])))
        falling = self.rng.integers(0, 2, len(t)).astype(bool) & bool(self.rng.integers(2))
        t[falling] = t[falling, ::-1]
        stage = LevelStage(self.shape, self.shape, t, falling, sources=self.sources())
        self.add(stage, "numbers")

    def scale(self, bits=None, factor=None):
        """Numbers of at most so many bits; or integers as they are."""
        low, high = self.range()
        size = int(max(abs(low).max(), abs(high).max(), 1))
        shift = int(self.rng.integers(0, 20))
        most = 2 ** (bits or int(self.rng.integers(4, 15)))
        A = self.rng.uniform(-1, 1, len(low)) * most / size / 2 * 2.0**shift
        if factor is not None:
            A, shift = np.full(len(low), factor), 0
        B = self.rng.integers(-most // 8, most // 8 + 1, len(low)) * 2**shift + 2**shift // 2
        B = B * 0 if factor is not None else B
        A, B = A.round().astype(np.int64), B.astype(np.int64)
        takes = self.kind
        self.add(
            ScaleStage(self.shape, self.shape, takes, A, B, shift, sources=self.sources()),
            "numbers",
        )

    def slope(self):
        shift = int(self.rng.integers(1, 16))
        A = self.rng.integers(-(2**shift), 2**shift, self.shape[-1]).astype(np.int64)
        self.add(SlopeStage(self.shape, self.shape, A, shift, sources=self.sources()), "numbers")

    # --- windows ---------------------------------------------------------------------------------

    def pool(self, summed, size, stride):
        height, width, depth = self.shape
        counts = [(n - k) // s + 1 for n, k, s in zip((height, width), size, stride, strict=True)]
        shapes = self.shape, (*counts, depth)
        if summed:
            stage = SumPoolStage(*shapes, self.kind, size, stride, sources=self.sources())
            self.add(stage, "acc")
        else:
            self.add(PoolStage(*shapes, size, stride, sources=self.sources()), self.kind)

    # --- branches --------------------------------------------------------------------------------

    def join(self, *at):
        stage = AddStage(self.shape, self.shape, sources=at)
        self.add(stage, "numbers", [self.range(j) for j in at])

    def concat(self, *at):
        parts = tuple(self.shapes[j][-1] for j in at)
        shape = (*self.shapes[at[0]][:-1], sum(parts))
        taken = [self.range(j) for j in at]
        kind = self.kinds[at[0]]
        sources = self.sources(*at)
        self.add(ConcatStage(self.shapes[at[0]], shape, parts, sources=sources), kind, taken)

    def finish(self, classes):
        self.dense(classes)
        low, high = self.range()
        most = 2 ** int(self.rng.choice([8, 30, 50]))
        reach = np.maximum(np.maximum(abs(low), abs(high)), 1)
        A = (self.rng.uniform(-1, 1, classes) * most / reach / 2).astype(np.int64)
        B = self.rng.integers(-most // 4, most // 4 + 1, classes)
        scale, offset = self.rng.normal(size=(2, classes)).astype(np.float32)
        stage = ScoreStage(self.shape, self.shape, A, B, 0, True, scale, offset)
        object.__setattr__(stage, "fits_int32", stage.largest(low, high) < 2**31)
        self.add(stage, "scores")
        return PackedModel(self.input_shape, tuple(self.stages), {"thresholds": []})


def random_program(rng):
    """A program of random stages on images of a few pixels, with one to eleven classes."""
    depth = int(rng.choice([1, 2, 3, 4, 6]))
    b = Builder(rng, (int(rng.integers(5, 9)), int(rng.integers(5, 9)), depth))
    for _ in range(int(rng.integers(1, 8))):
        _grow(b, rng)
    if b.kind == "acc":
        rng.choice([b.threshold, b.levels, b.scale])()
    if b.kind == "numbers" and max(abs(end).max() for end in b.range()) > 2**8:
        b.scale(bits=8)  # so that sums of all of them fit
    return b.finish(int(rng.choice([1, 2, 5, 11])))


def _grow(b, rng):
    kind, (height, width, depth) = b.kind, b.shape
    if kind == "acc":
        if min(height, width) >= 2 and rng.integers(4) == 0:
            b.pool(False, (2, 2), (int(rng.integers(1, 3)),) * 2)
        else:
            rng.choice([b.threshold, b.levels, b.scale])()
        return
    choice = rng.choice(["conv", "conv", "pool", "change", "residual", "concat"])
    if kind == "numbers" and max(abs(end).max() for end in b.range()) > 2**12:
        b.scale(bits=10)
    elif choice == "conv" or kind == "pixels":
        _conv(b, rng)
    elif choice == "pool" and min(height, width) >= 3:
        size = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        b.pool(bool(rng.integers(2)), size, (int(rng.integers(1, 3)), int(rng.integers(1, 3))))
    elif choice == "change":
        if kind == "bits":
            b.scale(factor=int(rng.integers(1, 5)))
        else:
            rng.choice([b.slope, b.threshold])()
    elif choice == "residual":
        if kind == "bits":
            b.scale(factor=1)
        start = b.here
        if rng.integers(2):
            b.threshold()
        b.conv(depth, (3, 3), border=((1, 1), (1, 1)), groups=int(rng.choice([1, depth])))
        b.scale(bits=6)
        b.join(start, b.here)
    elif choice == "concat":
        start, ends = b.here, []
        for _ in range(int(rng.integers(1, 4))):
            b.here = start
            b.conv(int(rng.integers(1, 5)), (1, min(2, width)))
            b.threshold() if kind == "bits" else b.levels()
            ends.append(b.here)
        ends += ends[:1] * int(rng.integers(2))  # one source twice
        b.concat(*ends)


def _conv(b, rng):
    height, width, depth = b.shape
    groups = int(rng.choice([g for g in (1, 2, 3, depth) if depth % g == 0]))
    border = tuple((int(rng.integers(2)), int(rng.integers(3))) for _ in range(2))
    size, dilation = [], []
    for n, edges in zip((height, width), border, strict=True):
        size.append(int(rng.integers(1, min(4, n + sum(edges) + 1))))
        room = (n + sum(edges) - 1) // max(1, size[-1] - 1)  # at least 1
        dilation.append(int(rng.integers(1, 1 + max(1, min(2, room)))))
    stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    b.conv(groups * int(rng.integers(1, 5)), tuple(size), stride, tuple(dilation), border, groups)
