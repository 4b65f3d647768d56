"""Stages on integers, against loops over Python's integers; programs that branch."""

from __future__ import annotations

import copy
import itertools
import pickle
import weakref

import numpy as np
import pytest
from integer_programs import random_program

from minibnn.packed.bits import pack_rows
from minibnn.packed.integer_stages import (
    LEAST,
    MOST,
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
    as_numbers,
    weight_form,
)
from minibnn.packed.stages import (
    ConvStage,
    DenseStage,
    Stage,
    last_uses,
    run_stages,
    same_stage,
    sources_of,
)

TAKES = ("pixels", "bits", "numbers")


def values(rng, takes, shape):
    """Random values with the ends among them, as stages take them."""
    ends, dtype = {
        "pixels": ((0, 255), np.uint8), "bits": ((0, 1), np.uint8),
        "numbers": ((LEAST, MOST), np.int16), "acc": ((-(2**31) + 1, 2**31 - 1), np.int32),
    }[takes]  # fmt: skip
    x = rng.integers(ends[0], ends[1] + 1, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice(ends, shape), x).astype(dtype)


def plain(x, takes):
    """Nested lists of what the values count as."""
    return (2 * x.astype(np.int64) - 1 if takes == "bits" else x).tolist()


def check(backend, stage, expected, dtype, *sources):
    """Run a stage on a device; the values that it takes stay as they are."""
    there = [backend.asarray(x) for x in sources]
    y = stage.run(*there)
    assert type(y) is backend.array_type
    found = backend.to_host(y)
    assert found.dtype == dtype
    assert found.shape == (len(sources[0]), *stage.out_shape)
    assert found.tolist() == expected
    for x, own in zip(sources, there, strict=True):
        np.testing.assert_array_equal(backend.to_host(own), x)


# --- products -------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes", TAKES)
@pytest.mark.parametrize("most", [1, 127])
def test_dense(takes, most, backend, rng):
    W = rng.integers(-most, most + 1, (5, 24)).astype(np.int8)
    W[0], W[1] = most, -most
    stage = IntegerDense((24,), (5,), W, takes)
    x = values(rng, takes, (6, 2, 3, 4))  # the shape may be another one
    x[0], x[1] = x.max(), x.min()
    expected = [
        [sum(w * v for w, v in zip(row, sample, strict=True)) for row in W.tolist()]
        for sample in plain(x.reshape(6, 24), takes)
    ]
    check(backend, stage, expected, np.int32, x)
    assert (stage.channels, stage.width) == (5, 24)


def test_sums_at_the_ends_of_32_bits(backend):
    """Just below 2^31, where float32 is 128 apart; odd ones, too."""
    width = 516
    W = np.full((3, width), 127, np.int8)
    W[1], W[2, 0] = -127, 126
    x = np.full((3, width), LEAST, np.int16)
    x[1], x[2, :3] = MOST, [LEAST + 1, 7, -9]
    stage = IntegerDense((width,), (3,), W, "numbers")
    expected = (x.astype(object) @ W.T.astype(object)).tolist()
    assert max(map(max, expected)) > 2**31 - 2**18
    check(backend, stage, expected, np.int32, x)


def plain_conv(stage, x):
    """Loops over every position, channel and weight."""
    (above, _), (left, _) = stage.border
    height, width, depth = stage.in_shape
    taken, given = depth // stage.groups, stage.channels // stage.groups
    W = stage.weights.reshape(stage.channels, *stage.size, taken).tolist()
    down, across, channels = stage.out_shape

    def value(sample, r, c, k):
        inside = 0 <= r < height and 0 <= c < width
        return sample[r][c][k] if inside else stage.border_value

    def acc(sample, i, j, c):
        first = c // given * taken
        return sum(
            W[c][a][b][k]
            * value(
                sample,
                i * stage.stride[0] + a * stage.dilation[0] - above,
                j * stage.stride[1] + b * stage.dilation[1] - left,
                first + k,
            )
            for a, b, k in itertools.product(*map(range, (*stage.size, taken)))
        )

    return [
        [[[acc(sample, i, j, c) for c in range(channels)] for j in range(across)]
         for i in range(down)]
        for sample in plain(x, stage.takes)
    ]  # fmt: skip


BORDERS = {
    "pixels": [200, 255], "bits": [-1, 0, 1], "numbers": [0, -3, LEAST, MOST],
}  # fmt: skip


@pytest.mark.parametrize(("takes", "border_value"), [(t, v) for t in TAKES for v in BORDERS[t]])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolutions(takes, border_value, groups, backend, rng):
    W = rng.integers(-127, 128, (8, 3 * 2 * 4 // groups)).astype(np.int8)
    stage = IntegerConv((5, 4, 4), (3, 4, 8), W, takes, (3, 2), (2, 1), (1, 2), ((2, 1), (0, 2)),
                        border_value, groups)  # fmt: skip
    x = values(rng, takes, (3, 5, 4, 4))
    check(backend, stage, plain_conv(stage, x), np.int32, x)


@pytest.mark.parametrize("groups", [1, 3])
def test_convolutions_without_a_border(groups, backend, rng):
    W = rng.integers(-1, 2, (3, 4 * 3 // groups)).astype(np.int8)
    stage = IntegerConv((3, 5, 3), (2, 2, 3), W, "numbers", (2, 2), (1, 3), (1, 1),
                        ((0, 0), (0, 0)), 0, groups)  # fmt: skip
    x = values(rng, "numbers", (2, 3, 5, 3))
    check(backend, stage, plain_conv(stage, x), np.int32, x)


@pytest.mark.parametrize("pixels", [False, True])
def test_weights_of_one_bit_are_a_special_case(pixels, backend, rng):
    """`DenseStage` and `ConvStage` give the same sums, from packed bits."""
    takes = "pixels" if pixels else "bits"
    x = values(rng, takes, (4, 5, 5, 3))
    bits = rng.integers(0, 2, (4, 75), np.uint8)
    signs = (2 * bits.astype(np.int8) - 1).astype(np.int8)
    border, value = ((1, 0), (0, 1)), 1
    pairs = [
        (DenseStage((75,), (4,), pack_rows(bits), 75, pixels),
         IntegerDense((75,), (4,), signs, takes)),
        (ConvStage((5, 5, 3), (2, 2, 4), pack_rows(bits), 75, pixels, (5, 5), (1, 1), (1, 1),
                   border, value),
         IntegerConv((5, 5, 3), (2, 2, 4), signs, takes, (5, 5), (1, 1), (1, 1), border, value, 1)),
    ]  # fmt: skip
    for binary, integer in pairs:
        ours, theirs = (backend.to_host(s.run(backend.asarray(x))) for s in (integer, binary))
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype == np.int32


# --- windows, levels, scales ----------------------------------------------------------------------


@pytest.mark.parametrize("takes", ["bits", "numbers"])
def test_sums_of_windows(takes, backend, rng):
    stage = SumPoolStage((5, 6, 2), (2, 4, 2), takes, (3, 3), (2, 1))
    x = values(rng, takes, (3, 5, 6, 2))
    x[0], x[1] = x.max(), x.min()
    samples = plain(x, takes)
    expected = [
        [[[sum(s[2 * i + a][j + b][c] for a in range(3) for b in range(3)) for c in range(2)]
          for j in range(4)] for i in range(2)]
        for s in samples
    ]  # fmt: skip
    check(backend, stage, expected, np.int32, x)


def by_channel(x, function):
    """Nested lists of ``function(channel, value)``."""
    if x.ndim == 1:
        return [function(c, v) for c, v in enumerate(x.tolist())]
    return [by_channel(part, function) for part in x]


@pytest.mark.parametrize("takes", ["numbers", "acc"])
def test_levels(takes, backend, rng):
    """Thresholds at the values themselves, in any order, twice the same, and beyond all values."""
    x = values(rng, takes, (40, 2, 3))
    t = rng.choice(x.reshape(-1), (3, 5)).astype(np.int32)
    t[0, 1] = t[0, 0]
    t[1, :2] = -(2**31), 2**31 - 1
    falling = np.array([False, True, True])
    stage = LevelStage((2, 3), (2, 3), t, falling)
    rows = t.tolist()
    expected = by_channel(x, lambda c, v: sum(v <= r if falling[c] else v >= r for r in rows[c]))
    check(backend, stage, expected, np.int16, x)
    assert {0, 1, 2, 3, 4, 5} >= set(np.unique(expected)) >= {1, 2, 3, 4}


@pytest.mark.parametrize("takes", ["pixels", "bits", "numbers", "acc"])
@pytest.mark.parametrize("shift", [0, 1, 31, 48])
def test_scales(takes, shift, backend, rng):
    """Rounded down, also below 0; products have up to 52 bits."""
    x = values(rng, takes, (40, 3, 4))
    size = {"pixels": 255, "bits": 1, "numbers": 2**15, "acc": 2**31}[takes]
    most = min(2**15 * 2**shift, 2**52) // 2 - 1
    a = min(most // size, 2**31 - 1)
    A = np.array([a, -a, min(a, 3), 0])
    B = np.array([0, 5 % (most + 1), -most, most])
    stage = ScaleStage((3, 4), (3, 4), takes, A, B, shift)
    v = 2 * x.astype(np.int64) - 1 if takes == "bits" else x
    expected = by_channel(v, lambda c, v: (int(A[c]) * v + int(B[c])) // 2**shift)
    assert np.abs(expected).max() <= MOST
    check(backend, stage, expected, np.int16, x)


@pytest.mark.parametrize("shift", [1, 7, 30])
def test_slopes(shift, backend, rng):
    one = 2**shift
    A = np.array([one // 2, -(one // 2), one - 1, 0])
    x = values(rng, "numbers", (60, 4))
    x[x == LEAST] += 1  # times almost -1 it is still a number
    x[:4] = np.array([0, 1, -1, MOST])[:, None]
    stage = SlopeStage((4,), (4,), A, shift)
    expected = by_channel(x, lambda c, v: v if v > 0 else (int(A[c]) * v + one // 2) // one)
    check(backend, stage, expected, np.int16, x)


# --- branches -------------------------------------------------------------------------------------


def test_sums_of_sources(backend, rng):
    """Three, of shapes that differ; the first source is not changed in place."""
    xs = [rng.integers(-10000, 10001, (5, *shape)).astype(np.int16)
          for shape in ((2, 3), (6,), (1, 2, 3))]  # fmt: skip
    stage = AddStage((2, 3), (2, 3), sources=(0, 1, 2))
    rows = [x.reshape(5, 2, 3).tolist() for x in xs]
    expected = [
        [[a + b + c for a, b, c in zip(*row, strict=True)] for row in zip(*sample, strict=True)]
        for sample in zip(*rows, strict=True)
    ]
    check(backend, stage, expected, np.int16, *xs)


@pytest.mark.parametrize("takes", ["bits", "numbers"])
def test_sources_side_by_side(takes, backend, rng):
    xs = [values(rng, takes, (3, *shape)) for shape in ((2, 2, 1), (4, 3), (2, 2, 2))]
    stage = ConcatStage((2, 2, 1), (2, 2, 6), (1, 3, 2), sources=(0, 1, 2))
    a, b, c = (x.reshape(3, 2, 2, -1).tolist() for x in xs)
    expected = [
        [[a[n][i][j] + b[n][i][j] + c[n][i][j] for j in range(2)] for i in range(2)]
        for n in range(3)
    ]
    check(backend, stage, expected, xs[0].dtype, *xs)


def test_random_programs_on_devices(device, rng):
    """All kinds in graphs: a device gives the host's scores and labels."""
    for seed in range(60):
        packed = random_program(np.random.default_rng(seed))
        images = rng.integers(0, 256, (5, *packed.input_shape), np.uint8)
        there = device.asarray(images)
        for method in ("predict_scores", "predict"):
            found = getattr(packed, method)(there)
            assert type(found) is device.array_type
            np.testing.assert_array_equal(device.to_host(found), getattr(packed, method)(images))


def test_an_empty_batch():
    for seed in range(30):
        packed = random_program(np.random.default_rng(seed))
        scores = packed.predict_scores(np.zeros((0, *packed.input_shape), np.uint8))
        assert scores.shape == (0, packed.classes)
        after = packed.after(np.zeros((0, *packed.input_shape), np.uint8), len(packed.stages) - 1)
        assert after.shape == (0, packed.classes)


def line(*sources):
    """Stages without work, with these sources."""
    return tuple(AddStage((1,), (1,), sources=s) for s in sources)


def test_sources():
    stages = line((), (), (0, 1), (-1, 2), (3, 3))
    assert [sources_of(i, s) for i, s in enumerate(stages)] == [
        (-1,), (0,), (0, 1), (-1, 2), (3, 3),
    ]  # fmt: skip
    assert last_uses(stages) == [3, 2, 2, 3, 4, 4]
    assert last_uses(stages[:2]) == [0, 1, 1]
    assert last_uses(()) == [-1]


def test_stages_take_their_sources():
    """Sums of powers of two say which values were taken."""
    x = np.array([[1]], np.int16)
    stages = line((-1, -1), (-1, 0, 0), (0, 1), (2, -1))
    assert [run_stages(stages, x, n).item() for n in range(5)] == [1, 2, 5, 7, 8]


def test_values_are_dropped_when_nothing_takes_them():
    made, living = [], []

    class Watched(Stage):
        kind = "watched"

        def run(self, x, *others):
            living.append([i for i, ref in enumerate(made) if ref() is not None])
            y = x + 1
            made.append(weakref.ref(y))
            return y

    sources = [(), (), (0, 1), (0, 2), (), (-1, 4)]
    stages = tuple(Watched((1,), (1,), sources=s) for s in sources)
    y = run_stages(stages, np.zeros((1, 1)), len(stages))
    # At each stage: what it takes, and what later ones take.
    assert living == [[], [0], [0, 1], [0, 2], [3], [4]]
    assert y.item() == 1


def test_sources_are_part_of_a_stage():
    one, other = line((0, 1), (1, 0))
    assert same_stage(one, copy.deepcopy(one))
    assert not same_stage(one, other)
    assert pickle.loads(pickle.dumps(one)).sources == (0, 1)


# --- weights and bits -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "form"),
    [
        ([[1, -1], [-1, 1]], "bits"), ([[1, 0]], "ternary"), ([[0, 0]], "ternary"),
        ([[1, -1], [2, 1]], "bytes"), ([[-127, 0]], "bytes"), ([[-2, -1]], "bytes"),
        ([[-128, 1]], "bytes"),
    ],
)  # fmt: skip
def test_weight_form(weights, form):
    assert weight_form(np.array(weights, np.int8)) == form


def test_bits_count_as_signs(backend):
    x = backend.asarray(np.array([[0, 1, 1]], np.uint8))
    assert backend.to_host(as_numbers(x, "bits")).tolist() == [[-1, 1, 1]]
    for takes in ("pixels", "numbers", "acc"):
        assert as_numbers(x, takes) is x


def test_arrays_are_read_only(rng):
    W, A, t = np.ones((2, 2), np.int8), np.ones(2, np.int64), np.ones((2, 3), np.int32)
    stages = [
        IntegerDense((2,), (2,), W, "bits"),
        LevelStage((2,), (2,), t, np.zeros(2, bool)),
        ScaleStage((2,), (2,), "acc", A, A.copy(), 1),
        SlopeStage((2,), (2,), A.copy(), 1),
    ]
    names = [list(stage.arrays()) for stage in stages]
    assert names == [["weights"], ["thresholds", "falling"], ["A", "B"], ["A"]]
    for stage in stages:
        for array in copy.deepcopy(stage).arrays().values():
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
