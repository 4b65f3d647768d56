"""Compiled C programs with stages on integers: the edges of each kind, and random programs."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from c_headers import (
    C99,
    CLANG,
    CPP,
    SANITIZE,
    build,
    check_program,
    compiler,
    header,
    write_program,
)
from integer_programs import NO_BORDER, Builder, random_program
from wide_models import packed_networks

from minibnn.export.c_integers import as_product, within
from minibnn.packed.integer_stages import (
    ConcatStage,
    IntegerConv,
    IntegerDense,
    LevelStage,
    ScaleStage,
    SlopeStage,
)
from minibnn.packed.model import PackedModel
from minibnn.packed.ranges import Range
from minibnn.packed.stages import ConvStage, DenseStage, ScoreStage, ThresholdStage

AROUND = ((1, 1), (2, 2))
BUILDS = {
    "gcc, sanitized": ["gcc", *C99, *SANITIZE, "-fsanitize=address,undefined"],
    "gcc, words of 32 bits": ["gcc", *C99, "-DNAME_WORD_BITS=32", "-DNAME_POPCOUNT=3"],
    "gcc, optimized": ["gcc", *C99, "-O3"],
    "clang": [CLANG, *C99, "-DNAME_POPCOUNT=1", "-DNAME_SIMD=0", "-DNAME_STATIC"],
    "g++": ["g++", *CPP],
}
# How many random programs each of them compiles: few where that takes long.
COUNTS = {
    "gcc, sanitized": 15, "gcc, words of 32 bits": 50, "gcc, optimized": 10, "clang": 100,
    "g++": 30,
}  # fmt: skip


class Edges(Builder):
    """A program whose stages have given numbers."""

    def conv_of(self, W, size, border=NO_BORDER, value=0, groups=1, stride=(1, 1)):
        counts = [
            (n + sum(b) - k) // s + 1
            for n, b, k, s in zip(self.shape, border, size, stride, strict=False)
        ]
        stage = IntegerConv(
            self.shape, (*counts, len(W)), W, self.kind, size, stride, (1, 1), border, value,
            groups, sources=self.sources(),
        )  # fmt: skip
        self.add(stage, "acc")

    def dense_of(self, W):
        stage = IntegerDense((W.shape[1],), (len(W),), W, self.kind, sources=self.sources())
        self.add(stage, "acc")

    def threshold_of(self, t, falling):
        t, falling = np.array(t, np.int32), np.array(falling, bool)
        self.add(ThresholdStage(self.shape, self.shape, t, falling, sources=self.sources()), "bits")

    def levels_of(self, t, falling):
        t, falling = np.array(t, np.int32), np.array(falling, bool)
        self.add(LevelStage(self.shape, self.shape, t, falling, sources=self.sources()), "numbers")

    def scale_of(self, A, B, shift):
        A, B = (np.full(self.shape[-1], v, np.int64) for v in (A, B))
        stage = ScaleStage(self.shape, self.shape, self.kind, A, B, shift, sources=self.sources())
        self.add(stage, "numbers")
        assert self.range().within(-(2**15), 2**15 - 1)
        return self.here

    def slope_of(self, A, shift):
        A = np.full(self.shape[-1], A, np.int64)
        self.add(SlopeStage(self.shape, self.shape, A, shift, sources=self.sources()), "numbers")
        assert self.range().within(-(2**15), 2**15 - 1)

    def scores_of(self, A=1, B=0):
        """Scores of all values as they are."""
        n = math.prod(self.shape)
        A, B = (np.full(n, v, np.int64) for v in (A, B))
        ones = np.ones(n, np.float32)
        stage = ScoreStage((n,), (n,), A, B, 0, False, ones, ones, sources=self.sources())
        low, high = self.range().of_shape(self.shape, (n,))
        object.__setattr__(stage, "fits_int32", stage.largest(low, high) < 2**31)
        self.add(stage, "scores")
        return PackedModel(self.input_shape, tuple(self.stages), {"thresholds": []})

    def scores_of_bits(self):
        self.scale_of(1, 0, 0)
        return self.scores_of()


def pixels(shape, rng=None):
    return Edges(rng or np.random.default_rng(5), shape)


def bits(shape):
    """Bits of an image, each by itself."""
    b = pixels(shape)
    b.scale_of(1, 0, 0)
    b.threshold_of([100] * shape[-1], [False] * shape[-1])
    return b


def numbers(shape, A=257, B=-32768):
    """Numbers from -32768 to 32767."""
    b = pixels(shape)
    b.scale_of(A, B, 0)
    return b


def convolutions():
    rng = np.random.default_rng(8)
    for start in (pixels, bits, numbers):
        for sort in ("bits", "ternary", "bytes"):
            for depth, groups, border, value in (
                (1, 1, AROUND, 0), (6, 3, AROUND, 0), (4, 4, AROUND, 1), (40, 1, AROUND, 0),
                (70, 2, AROUND, -1 if start is not pixels else 255),
            ):  # fmt: skip
                b = start((4, 3, depth))
                W = b.weights(2 * groups, 6 * depth // groups, sort)
                if sort == "bits":
                    W[0, 0] = -1  # so that no plane is of ones only
                b.conv_of(W, (2, 3), border, value, groups, stride=(2, 1))
                yield b.scores_of()
    for width in (31, 64, 129):
        for start in (pixels, bits, numbers):
            for sort in ("bits", "ternary", "bytes"):
                b = start((width,))
                b.dense_of(b.weights(3, width, sort))
                yield b.scores_of()
    b = numbers((400,))  # sums close to 2^31
    b.dense_of(rng.choice([-127, 127], (3, 400)).astype(np.int8))
    yield b.scores_of(7, -(2**50))


def thresholds():
    for start in (bits, numbers):
        W = pixels((1,)).weights(70, 36, "ternary")

        def sums(start=start, W=W):
            b = start((6, 5, 4))
            b.conv_of(W, (3, 3))
            return b

        low, high = sums().range()
        t = np.stack([low - 1, low, low // 3, high // 2, high, high + 1], axis=1)
        for falling in (np.zeros(70, bool), np.arange(70) % 4 < 2):
            b = sums()
            b.threshold_of(t[np.arange(70), np.arange(70) % 6], falling)
            yield b.scores_of_bits()
            b = sums()
            b.levels_of(t, falling)
            yield b.scores_of()
            b = sums()  # which are needed twice
            twice = b.here
            b.levels_of(t, falling)
            first, b.here = b.here, twice
            b.levels_of(t[:, :1], ~falling)
            b.join(first, b.here)
            yield b.scores_of()
    b = numbers((2, 3, 5))  # thresholds of numbers, and far beyond them
    t = [-(2**31), 2**31 - 1, -32768, 32767, 1]
    b.threshold_of(t, [True, True, False, True, False])
    yield b.scores_of_bits()
    for falling in (False, True):
        b = numbers((5,))
        b.levels_of(np.stack([t, np.zeros(5), t[::-1]], axis=1), [falling] * 5)
        yield b.scores_of()
    b = numbers((2, 3, 4))  # one threshold for all positions of a channel, after a product
    b.dense_of(b.weights(24, 24, "bytes"))
    b.shapes[-1] = (2, 3, 4)
    b.ranges[-1] = b.ranges[-1].of_shape((24,), (2, 3, 4))
    b.threshold_of([-5, 0, 1000, 10**6], [False, True, False, True])
    yield b.scores_of_bits()


def scales():
    top = 2**31 - 1
    for A, B, shift in (
        (1, -300, 0), (-1, 0, 0), (-77, 13, 1), (77, -10_001, 1), (top // 256, -5, 16),
        (-top // 256, 2, 17), (top // 255, 0, 31), (-(top // 255), 0, 31), (top, 0, 32),
        (-top, -1, 32), (-top, 2**51, 48), (top, -(2**52) + 2**40, 48), (1, -1, 48), (0, -1, 31),
        (top, -(2**40), 25),
    ):  # fmt: skip
        b = pixels((7,))
        b.scale_of(A, B, shift)
        yield b.scores_of()
    for A, B, shift in (
        (-1, -1, 0), (1, -1, 1), (65535, 0, 16), (65536, -1, 17), (-65536, -1, 17),
        (top, 2**30, 31), (-top, -3, 32), (-3, 0, 48),
    ):  # fmt: skip
        b = numbers((3, 2, 5))
        b.scale_of(A, B, shift)
        yield b.scores_of()
    b = numbers((90,))  # of sums, at once and later
    b.dense_of(b.weights(5, 90, "bytes"))
    sums = b.here
    b.scale_of(3, -(2**35), 22)
    first, b.here = b.here, sums
    b.scale_of(-1, 2**20, 20)
    b.concat(first, b.here)
    yield b.scores_of()
    for A, B, shift in ((1, 0, 0), (-300, 5, 3), (2**30, -(2**40), 30)):
        b = bits((5, 2, 13))
        b.scale_of(A, B, shift)
        yield b.scores_of()
    for A, shift in ((1, 1), (-1, 1), (2**14 + 1, 15), (-(2**15) + 2, 15), (2**30, 30),
                     (-(2**30) + 2**16, 30), (0, 8)):  # fmt: skip
        b = numbers((2, 2, 9))
        b.slope_of(A, shift)
        yield b.scores_of()
    b = numbers((9,), 64, -16384)
    b.slope_of(top, 30)
    yield b.scores_of()


def windows():
    for size, stride in (((2, 2), (2, 2)), ((3, 1), (1, 1)), ((2, 3), (1, 2)), ((4, 5), (1, 1))):
        for start in (bits, numbers):
            for summed in (True, False):
                b = start((4, 5, 3))
                b.pool(summed, size, stride)
                yield b.scores_of_bits() if b.kind == "bits" else b.scores_of()
        b = numbers((4, 5, 3))  # what is pooled is needed later, so that it stays
        before = b.here
        b.pool(False, size, stride)
        b.scale_of(1, 0, 2)
        first, b.here = b.here, before
        b.pool(False, size, stride)
        b.scale_of(-1, 0, 3)
        b.join(first, b.here)
        yield b.scores_of()
    for pools in (1, 2, 3):  # of sums, needed once or twice
        for turn in ("levels", "scale", "threshold"):
            for twice in (False, True):
                b = numbers((7, 7, 2))
                b.conv_of(b.weights(3, 8, "bytes"), (2, 2))
                sums = b.here
                for k in range(pools):
                    b.pool(False, (2, 2), (1 + k % 2, 1))
                getattr(b, turn)()
                if b.kind == "bits":
                    b.scale_of(1, 0, 0)
                b.scale_of(1, 0, 4)
                if twice:
                    first, b.here = b.here, sums
                    for k in range(pools):
                        b.pool(False, (2, 2), (1 + k % 2, 1))
                    b.scale(bits=6)
                    b.join(first, b.here)
                yield b.scores_of()

    for t in (-2, 0, 2):  # sums that equal their thresholds, falling and rising, before pools
        for turn in ("threshold_of", "levels_of"):
            b = numbers((4, 4, 1), 1, -100)
            b.conv_of(np.array([[2], [-2], [2], [-2]], np.int8), (1, 1))
            b.pool(False, (2, 1), (1, 2))
            limits = [t] * 4 if turn == "threshold_of" else [[t, t]] * 4
            getattr(b, turn)(limits, [True, True, False, False])
            yield b.scores_of_bits() if b.kind == "bits" else b.scores_of()


def branches():
    b = numbers((3, 3, 4))  # 2 x - x, with 2 x beyond 16 bits on the way
    start = b.here
    b.scale_of(-1, -1, 0)
    b.join(start, start, b.here)
    yield b.scores_of()
    for parts in ((1, 2), (31, 33, 1), (70, 5, 64)):
        for sort in ("bits", "numbers"):
            b = numbers((2, 3, 3))
            start, ends = b.here, []
            for n in parts:
                b.here = start
                b.conv_of(b.weights(n, 3, "bytes"), (1, 1))
                b.threshold() if sort == "bits" else b.levels()
                ends.append(b.here)
            b.concat(*ends, ends[0])
            yield b.scores_of_bits() if sort == "bits" else b.scores_of()
    b = pixels((4, 4, 2))  # the image again, later
    b.conv_of(b.weights(2, 8, "bits"), (2, 2))
    b.scale(bits=8)
    first, b.here = b.here, -1
    b.conv_of(b.weights(2, 8, "bytes"), (2, 2))
    b.scale(bits=8)
    b.join(first, b.here)
    yield b.finish(1)  # a single score


KINDS = {f.__name__: f for f in (convolutions, thresholds, scales, windows, branches)}


def with_images(models):
    """Each model with twenty images: all 0, all 255, extremes, and noise."""
    rng = np.random.default_rng(4)
    result = []
    for packed in models:
        images = rng.integers(0, 256, (20, *packed.input_shape), np.uint8)
        images[0], images[1] = 0, 255
        images[2:6] = rng.choice([0, 255], images[2:6].shape)
        images[6:9] = rng.integers(99, 102, images[6:9].shape)
        result.append((packed, images))
    return result


@pytest.fixture(scope="module", params=KINDS)
def edges(request, tmp_path_factory):
    models, folder = with_images(KINDS[request.param]()), tmp_path_factory.mktemp("edges")
    write_program(folder, models)
    return folder, models


@pytest.mark.parametrize("name", ["gcc, sanitized", "gcc, words of 32 bits"])
def test_the_edges_of_each_kind(edges, name):
    folder, models = edges
    compiler(BUILDS[name][0])
    build(folder, BUILDS[name], ["main.c"])
    check_program(folder, models)


@pytest.mark.parametrize("name", BUILDS)
def test_random_programs(name, tmp_path):
    """Other programs for each compiler."""
    compiler(BUILDS[name][0])
    seed = list(BUILDS).index(name)
    models = with_images(
        random_program(np.random.default_rng([seed, k])) for k in range(COUNTS[name])
    )
    assert len({packed.classes for packed, _ in models}) == 4
    write_program(tmp_path, models)
    build(tmp_path, BUILDS[name], ["main.c"])
    check_program(tmp_path, models)


def test_random_networks(tmp_path):
    """From layers to C: twenty networks."""
    compiler("gcc")
    models = with_images(packed_networks(20))
    write_program(tmp_path, models)
    build(tmp_path, BUILDS["gcc, sanitized"], ["main.c"])
    check_program(tmp_path, models)


def test_the_head_states_flash_and_ram(tmp_path):
    """With words of 32 bits, for programs of all kinds."""
    compiler("gcc")
    lines, seen = [], set()
    for k in range(12):
        packed = random_program(np.random.default_rng([7, k]))
        seen |= {stage.kind for stage in packed.stages}
        text = header(packed, tmp_path, name="net")
        (tmp_path / f"m{k}.h").write_text(text.replace("net_", f"m{k}_").replace("NET_", f"M{k}_"))
        flash, ram = (int(re.search(rf"{what}: ([\d,]+) ", text)[1].replace(",", "")) for what in
                      ("Flash", "RAM"))  # fmt: skip
        tables = 512 if "int32_t table[" in text else 256 if "int16_t table[" in text else 0
        constants = re.findall(r"^static const net_\w+ (net_\w+)(?:\[| NET_FLASH)", text, re.M)
        constants += re.findall(r"^static const u?int\d+_t (net_\w+)\[", text, re.M)
        constants = [c for c in constants if c not in ("net_images", "net_expected")]
        size = " + ".join(f"sizeof {c}" for c in constants).replace("net_", f"m{k}_")
        lines += [
            f'#include "m{k}.h"',
            f"typedef char flash{k}[{size} == {flash} ? 1 : -1];",
            f"typedef char ram{k}[sizeof(m{k}_scratch) + {tables} == {ram} ? 1 : -1];",
        ]
    assert {"integer_conv", "scale", "levels", "threshold", "add", "slope"} <= seen
    (tmp_path / "main.c").write_text("\n".join([*lines, "int main(void) { return 0; }\n"]))
    macros = [f"-DM{k}_WORD_BITS=32" for k in range(12)]
    build(tmp_path, ["gcc", *C99, *macros], ["main.c"])


def test_products_of_one_bit_are_known(rng):
    """+1 and -1 as integers of 8 bits become the products that compare differences of bits."""

    def conv(weights, takes, border=NO_BORDER, value=0, groups=1):
        sizes = (2, 2), (1, 1), (1, 1), border, value, groups
        return IntegerConv((3, 3, 2), (2, 2, 4), weights, takes, *sizes, sources=(3,))

    W = rng.choice([-1, 1], (4, 8)).astype(np.int8)
    for value, bit in ((1, 1), (-1, 0)):
        product = as_product(conv(W, "bits", AROUND, value))
        assert isinstance(product, ConvStage)
        assert (product.border_value, product.sources) == (bit, (3,))
    assert isinstance(as_product(conv(W, "pixels", AROUND, 0)), ConvStage)
    assert isinstance(as_product(IntegerDense((8,), (4,), W, "bits")), DenseStage)
    for stage in (
        conv(W, "bits", AROUND, 0),  # zeros are no bits
        conv(W[:, :4], "bits", groups=2),
        conv(W, "numbers"),
        conv(W * 2, "bits"),
        conv(W * (W > 0), "bits"),
        ConcatStage((1,), (2,), (1, 1)),
    ):
        assert as_product(stage) is stage


def test_thresholds_are_within_reach():
    t = np.array([[-(2**31), 0], [-7, 2**31 - 1]], np.int32)
    stage = LevelStage((2,), (2,), t, np.array([False, True]))
    reach = Range(np.array([-5, -6]), np.array([5, 100]))
    assert within(stage, reach).tolist() == [[-6, 0], [-7, 101]]
