"""Arithmetic in ONNX graphs: digits, floors and comparisons, at the ends of what integers can be."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from onnx_checks import check, images_for, scored, session

from minibnn import PackError
from minibnn.export.onnx import export_onnx
from minibnn.export.onnx_graph import DIGIT_BITS, MOST_SUM, WHOLE, digits_for
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
from minibnn.packed.stages import DenseStage, PoolStage, ThresholdStage

onnx = pytest.importorskip("onnx")
NO_BORDER = ((0, 0), (0, 0))
RAMP = np.arange(256, dtype=np.uint8)


def operators(file):
    """How often each operator occurs."""
    return Counter(node.op_type for node in onnx.load(str(file)).graph.node)


def int64(*values):
    return np.array(values, np.int64)


def scale(shape, takes, A, B, shift=0, **options):
    return ScaleStage(shape, shape, takes, int64(*A), int64(*B), shift, **options)


def to_ends(shape):
    """Pixels to numbers from -32,768 (of 0) to 32,767 (of 255)."""
    n = shape[-1]
    return scale(shape, "pixels", [257] * n, [-32768] * n)


def python_scores(packed, images):
    """The scores of one line of stages, from Python's integers; see `LINES`."""
    rows = []
    for image in images.reshape(len(images), -1).tolist():
        values = image
        for stage in packed.stages[:-1]:
            values = [int(LINES[stage.kind](stage, c, v)) for c, v in enumerate(values)]
        rows.append(values)
    return rows


# Each kind on one value of channel c.
LINES = {
    "scale": lambda s, c, v: (int(s.A[c]) * v + int(s.B[c])) // 2**s.shift,
    "slope": lambda s, c, v: (
        v if v > 0 else (int(s.A[c]) * v + 2 ** (s.shift - 1)) // 2**s.shift
    ),
    "levels": lambda s, c, v: sum(
        v <= t if s.falling[c] else v >= t for t in s.thresholds[c].tolist()
    ),
}  # fmt: skip


def check_line(runtime, file, packed, images):
    check(runtime, packed, file, images)
    scores, _ = session(runtime, file).run(["scores", "label"], {"images": images})
    assert scores.tolist() == python_scores(packed, images)


# --- digits ---------------------------------------------------------------------------------------


def test_digits_hold_every_sum(rng):
    """Whatever the digits are, sums of them fit, and they reach every value."""
    seen = Counter()
    for _ in range(3000):
        largest = int(2 ** rng.uniform(0, 15))
        weights = int(2 ** rng.uniform(0, 24))
        sums = int(largest * weights * rng.uniform(0.3, 1))
        digits = digits_for(largest, weights, sums)
        if digits is None:
            assert 2 * weights > MOST_SUM
            continue
        seen[digits.count] += 1
        if digits.count == 1:
            assert sums <= MOST_SUM
            assert largest <= 2048
            continue
        base = 2**digits.bits
        assert 1 <= digits.bits <= DIGIT_BITS
        assert base * weights <= MOST_SUM  # of each digit's product
        top = base ** (digits.count - 1)
        for value in (largest, -largest):
            assert -base <= value // top <= base
        most = {np.float32: MOST_SUM, np.int32: 2**31 - 1, np.int64: 2**63 - 1}[digits.dtype]
        assert sums + base * weights <= most
    assert min(seen[n] for n in (1, 2, 3, 5)) >= 30


@pytest.mark.parametrize(
    ("largest", "weights", "sums", "count", "bits", "dtype"),
    [
        (255, 65792, 255 * 65792, 1, 11, np.float32),
        (255, 65793, 255 * 65793, 2, 7, np.int32),
        (2048, 10, 20480, 1, 11, np.float32),
        (2049, 10, 20490, 2, 11, np.float32),
        (32768, 1, 32768, 2, 11, np.float32),
        (32768, 65000, 2**31 - 1, 2, 8, np.int64),
        (32768, 60000, 60000 * 32768, 2, 8, np.int32),
        (255, MOST_SUM // 2, 255 * MOST_SUM // 2, 8, 1, np.int64),
        (255, 0, 0, 1, 11, np.float32),
        (4096, 0, 0, 2, 11, np.float32),
    ],
)
def test_digits_at_their_limits(largest, weights, sums, count, bits, dtype):
    digits = digits_for(largest, weights, sums)
    assert (digits.count, digits.bits, digits.dtype) == (count, bits, dtype)


def test_no_digits_are_small_enough(tmp_path):
    assert digits_for(255, MOST_SUM // 2 + 1, MOST_SUM + 1) is None
    assert digits_for(1, MOST_SUM, MOST_SUM).count == 1
    width = 2**23 // 127 + 1
    W = np.full((1, width), 127, np.int8)
    packed = scored((width,), IntegerDense((width,), (1,), W, "pixels"))
    with pytest.raises(PackError, match=r"add up to at most 8,388,607, .* got 8,388,731"):
        export_onnx(packed, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


# --- products -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "most", "products"),
    [(1, 1, 2), (4, 127, 2), (500, 127, 2), (3000, 5, 2), (30000, 2, 2)],
)
def test_products_of_the_ends_of_numbers(width, most, products, rng, runtime, exported):
    """Sums up to 32,768 * 127 * 500, almost 2^31; the least and the greatest are reached."""
    W = rng.integers(-most, most + 1, (5, width)).astype(np.int8)
    W[0], W[1] = most, -most
    W[2] = np.where(np.arange(width) % 2, most, -most)
    packed = scored((width, 1), to_ends((width, 1)), IntegerDense((width,), (5,), W, "numbers"))
    images = images_for(packed, rng, 20)
    images[2] = np.where(np.arange(width) % 2, 255, 0)[:, None]
    images[3] = 255 - images[2]
    file = exported(packed)
    check(runtime, packed, file, images)
    assert operators(file)["MatMul"] == products
    assert packed.predict_scores(images)[0, 0] == -32768 * most * width
    numbers = images.reshape(20, width).astype(object) * 257 - 32768
    (scores,) = session(runtime, file).run(["scores"], {"images": images})
    np.testing.assert_array_equal(scores, (numbers @ W.T.astype(object)).astype(np.int64))


def test_sums_about_2_to_the_31(runtime, exported):
    """The greatest sums that a program may have."""
    width = 516
    W = np.full((2, width), 127, np.int8)
    W[1] = -127
    packed = scored((width, 1), to_ends((width, 1)), IntegerDense((width,), (2,), W, "numbers"))
    images = np.repeat(int64(0, 255, 254, 1)[:, None, None], width, axis=1).astype(np.uint8)
    scores = packed.predict_scores(images)
    assert 2**31 - 2**18 < scores.max() < 2**31
    assert -(2**31) < scores.min() < 2**18 - 2**31
    check(runtime, packed, exported(packed), images)


def test_many_small_digits(rng, runtime, exported):
    """Pixels with so many weights that each digit has 4 bits, then 2."""
    for width, bits, products in ((6000, 4, 2), (30000, 2, 4)):
        W = rng.integers(-127, 128, (3, width)).astype(np.int8)
        W[0] = 127
        packed = scored((width,), IntegerDense((width,), (3,), W, "pixels"))
        file = exported(packed)
        assert digits_for(255, 127 * width, 255 * 127 * width).bits == bits
        assert operators(file)["MatMul"] == products
        check(runtime, packed, file, images_for(packed, rng, 12))


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("border_value", [0, -3, 32767, -32768])
def test_convolutions_of_the_ends_of_numbers(groups, border_value, rng, runtime, exported):
    W = rng.choice([-127, 0, 5, 127], (12, 6 * 6 // groups)).astype(np.int8)
    conv = IntegerConv((7, 5, 6), (4, 2, 12), W, "numbers", (3, 2), (2, 3), (1, 2),
                       ((1, 1), (0, 1)), border_value, groups)  # fmt: skip
    packed = scored((7, 5, 6), to_ends((7, 5, 6)), conv)
    file = exported(packed)
    check(runtime, packed, file, images_for(packed, rng))
    assert operators(file)["Conv"] == 2


def test_a_border_larger_than_all_values(rng, runtime, exported):
    """Digits have to hold it, too."""
    W = rng.choice([-127, 127], (2, 9 * 4)).astype(np.int8)
    shape, border = (4, 4, 4), ((1, 1), (1, 1))
    for takes, value, products in (("numbers", 32767, 2), ("numbers", 0, 1), ("pixels", 200, 1)):
        first = scale(shape, "pixels", [1] * 4, [0] * 4, 4)
        conv = IntegerConv(shape, (4, 4, 2), W, takes, (3, 3), (1, 1), (1, 1), border, value, 1)
        packed = scored(shape, *([first] if takes == "numbers" else []), conv)
        file = exported(packed)
        check(runtime, packed, file, images_for(packed, rng))
        assert operators(file)["Conv"] == products


@pytest.mark.parametrize("border_value", [-1, 0, 1])
@pytest.mark.parametrize("groups", [1, 3])
def test_borders_of_bits(border_value, groups, rng, runtime, exported):
    """A border of 0 is padding by Conv itself."""
    W = rng.choice([-1, 0, 1], (6, 9 * 3 // groups)).astype(np.int8)
    t = np.array([40, 128, 200], np.int32)
    conv = IntegerConv((5, 5, 3), (5, 6, 6), W, "bits", (3, 3), (1, 1), (1, 1), ((0, 2), (1, 2)),
                       border_value, groups)  # fmt: skip
    packed = scored(
        (5, 5, 3),
        ThresholdStage((5, 5, 3), (5, 5, 3), t, np.array([False, True, False])),
        conv,
    )
    file = exported(packed)
    check(runtime, packed, file, images_for(packed, rng))
    assert (operators(file)["Conv"], operators(file)["Pad"]) == (1, int(border_value != 0))


def test_values_of_more_than_11_bits_are_divided(rng, runtime, exported):
    """TensorFloat32 has no more; the sum fits into float32, so digits are added in it."""
    W = rng.integers(-3, 4, (2, 4)).astype(np.int8)
    for factor, products in ((8, 1), (9, 2)):
        packed = scored(
            (4, 1),
            scale((4, 1), "pixels", [factor], [0]),
            IntegerDense((4,), (2,), W, "numbers"),
        )
        file = exported(packed)
        check(runtime, packed, file, images_for(packed, rng))
        found = operators(file)
        assert (found["MatMul"], found["Floor"]) == (products, products - 1)
        assert found["Cast"] == 4  # pixels, the factor's result, weights, scores


def test_dense_bits_of_a_branch(rng, runtime, exported):
    """`DenseStage` on -1 and +1 of float32, since a scale takes the same bits."""
    t, shape = np.array([99] * 70, np.int32), (70,)
    words = rng.integers(0, 2**63, (3, 2)).astype(np.uint64)
    words[:, 1] &= 63  # of the second word only 6 bits are weights
    stages = [
        ThresholdStage(shape, shape, t, np.zeros(70, bool)),
        DenseStage(shape, (3,), words, 70, False),
        scale((3,), "acc", [1, 2, -1], [0, 1, 2], 1),
        scale(shape, "bits", [5] * 70, [1] * 70, 1, sources=(0,)),
        ConcatStage((3,), (73,), (3, 70), sources=(2, 3)),
    ]
    packed = scored(shape, *stages)
    file = exported(packed)
    check(runtime, packed, file, images_for(packed, rng))
    assert operators(file)["MatMulInteger"] == 0


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [2, 23])
def test_sums_of_windows(side, rng, runtime, exported):
    """529 numbers of 16 bits exceed 2^24."""
    shape = (side, side + 1, 3)
    pool = SumPoolStage(shape, (1, 2, 3), "numbers", (side, side), (1, 1))
    packed = scored(shape, to_ends(shape), pool)
    file = exported(packed)
    check(runtime, packed, file, images_for(packed, rng))
    least = packed.predict_scores(np.zeros((1, *shape), np.uint8)).min()
    assert least == -32768 * side**2
    assert (abs(int(least)) > WHOLE) == (side == 23)


def test_sums_of_windows_of_bits(rng, runtime, exported):
    shape = (5, 6, 2)
    t = np.array([80, 170], np.int32)
    packed = scored(
        shape,
        ThresholdStage(shape, shape, t, np.array([True, False])),
        SumPoolStage(shape, (2, 2, 2), "bits", (3, 2), (2, 3)),
    )
    check(runtime, packed, exported(packed), images_for(packed, rng))


def test_maxima_of_sums_beyond_float32(rng, runtime, exported):
    """Neighbouring sums beyond 2^24, which float32 would confuse."""
    width = 600
    W = rng.integers(-127, 128, (8, width)).astype(np.int8)
    W[0], W[2], W[4], W[6] = 127, 127, -127, -127
    W[2, :3], W[6, :3] = 126, -126
    stages = [
        IntegerDense((width,), (8,), W, "pixels"),
        PoolStage((2, 2, 2), (1, 2, 2), (2, 1), (1, 1)),
        ThresholdStage((1, 2, 2), (1, 2, 2), np.array([2**24 + 1, -(2**24) - 1], np.int32),
                       np.array([False, True])),
        scale((1, 2, 2), "bits", [1, 1], [0, 0]),
    ]  # fmt: skip
    images = np.full((40, width), 255, np.uint8)
    images[1:, 5] = rng.integers(0, 256, 39)
    images[20:] = images_for(scored((width,), *stages), rng, 20)
    for count in (2, 4):
        packed = scored((width,), *stages[:count])
        check(runtime, packed, exported(packed), images)
    assert packed.after(images, 2).max() > WHOLE
    assert (packed.after(images, 2) % 2).any()


def test_maxima_of_sums_in_64_bits(rng, runtime, exported):
    width = 516
    W = rng.choice([-127, 127], (4, width)).astype(np.int8)
    W[0], W[1] = 127, -127
    packed = scored(
        (width, 1),
        to_ends((width, 1)),
        IntegerDense((width,), (4,), W, "numbers"),
        PoolStage((4, 1, 1), (3, 1, 1), (2, 1), (1, 1)),
    )
    check(runtime, packed, exported(packed), images_for(packed, rng))


def test_maxima_of_numbers(rng, runtime, exported):
    shape = (4, 4, 2)
    packed = scored(shape, to_ends(shape), PoolStage(shape, (2, 3, 2), (3, 2), (1, 1)))
    check(runtime, packed, exported(packed), images_for(packed, rng))


# --- floors ---------------------------------------------------------------------------------------

FLOORS = {
    "no shift": ([1, -1, 0, 7], [0, -5, -32768, 1], 0),
    "halves": ([1, -1, 3, -3], [0, 0, -100, 100], 1),
    "negative": ([-255, -1, -2, -3], [-1, -3, -5, -7], 3),
    "positive": ([255, 1, 2, 3], [1, 3, 5, 7], 3),
    "beyond 32 bits": ([2**31 - 1, -(2**31) + 1, 2**30, 12345], [0, 1, -(2**50), 2**50], 36),
    "shift of 48": ([2**31 - 1, -(2**31) + 1, 1, -1], [2**51, -(2**51), 0, 0], 48),
    "only just 32 bits": ([2**23, -(2**23), 0, 0], [0, 0, 2**31 - 1, 1 - 2**31], 17),
    "sums beyond 32 bits": ([2**23, 2**22, 0, 1], [2**24, 2**24, 0, 0], 17),
    "small, shift of 31": ([1, 2, 3, 0], [0, 1, 2, 3], 31),
    "shift of 31": ([1, -1, 0, 0], [0, 0, 2**31 - 1, -(2**31)], 31),
}


@pytest.mark.parametrize("name", FLOORS)
def test_floors(name, runtime, exported):
    """Rounded down, not towards 0; compared with Python's integers for each pixel."""
    A, B, shift = FLOORS[name]
    packed = scored((4,), scale((4,), "pixels", A, B, shift))
    images = np.repeat(RAMP[:, None], 4, axis=1)
    file = exported(packed)
    check_line(runtime, file, packed, images)
    if name not in ("positive", "sums beyond 32 bits", "small, shift of 31"):
        assert packed.predict_scores(images).min() < 0


def test_floors_are_in_32_bits_where_these_hold_them(exported):
    for name, dtype in (("halves", "INT32"), ("beyond 32 bits", "INT64"), ("shift of 31", "INT64")):
        A, B, shift = FLOORS[name]
        file = exported(scored((4,), scale((4,), "pixels", A, B, shift)))
        (found,) = [c for c in onnx.load(str(file)).graph.initializer if c.name == "0.scale.A"]
        assert found.data_type == getattr(onnx.TensorProto, dtype), name


def test_floors_of_large_sums(rng, runtime, exported):
    """Sums near 2^31, times factors near 2^20."""
    width = 500
    W = rng.choice([-127, 127], (4, width)).astype(np.int8)
    W[0], W[1] = 127, -127
    packed = scored(
        (width, 1),
        to_ends((width, 1)),
        IntegerDense((width,), (4,), W, "numbers"),
        scale((4,), "acc", [2**20, -(2**20), 999_999, 3], [5, -5, 2**40, -(2**45)], 37),
    )
    images = images_for(packed, rng)
    assert abs(packed.after(images, 2)).max() > 2**30
    check(runtime, packed, exported(packed), images)


@pytest.mark.parametrize("shift", [1, 8, 30])
def test_slopes(shift, runtime, exported):
    """Numbers from -32,768 to 32,767, slopes of both signs."""
    one = 2**shift
    A = [one // 2, -(one // 2), one - 1, 1, 0, 1 - one // 2]
    shape = (6,)
    slope = SlopeStage(shape, shape, int64(*A), shift)
    packed = scored(shape, to_ends(shape), slope)
    images = np.repeat(RAMP[:, None], 6, axis=1)
    check_line(runtime, exported(packed), packed, images)
    small = scored(shape, scale(shape, "pixels", [1] * 6, [-128] * 6), slope)
    check_line(runtime, exported(small), small, images)


def test_slopes_of_images(rng, runtime, exported):
    """Channels first, behind a convolution."""
    W = rng.integers(-9, 10, (3, 2)).astype(np.int8)
    conv = IntegerConv((3, 4, 2), (3, 4, 3), W, "pixels", (1, 1), (1, 1), (1, 1), NO_BORDER, 0, 1)
    shape = (3, 4, 3)
    packed = scored(
        (3, 4, 2), conv, scale(shape, "acc", [3, -2, 1], [9, 0, -9], 2),
        SlopeStage(shape, shape, int64(3, -77, 100), 7),
    )  # fmt: skip
    check(runtime, packed, exported(packed), images_for(packed, rng))


# --- comparisons ----------------------------------------------------------------------------------


def test_levels(runtime, exported):
    """Thresholds in any order, twice the same, at the ends and beyond them."""
    thresholds = np.array(
        [[-32768, -1, 0, 1, 32767], [3, 3, 3, 3, 3], [32767, 1, 0, -1, -32768],
         [-(2**31), 2**31 - 1, 5, -5, 5], [-(2**31), 2**31 - 1, 5, -5, 5], [9, -9, 20, 7, 1]],
        np.int32,
    )  # fmt: skip
    shape = (6,)
    images = np.repeat(RAMP[:, None], 6, axis=1)
    for falling in ([False] * 6, [False, True, True, True, False, True]):
        for first in (to_ends(shape), scale(shape, "pixels", [1] * 6, [-128] * 6)):
            levels = LevelStage(shape, shape, thresholds, np.array(falling))
            packed = scored(shape, first, levels)
            check_line(runtime, exported(packed), packed, images)
            assert len(np.unique(packed.predict_scores(images))) >= 4


@pytest.mark.parametrize("kind", ["threshold", "levels"])
def test_thresholds_at_the_ends_of_32_bits(kind, rng, runtime, exported):
    """Behind sums of int32; a falling threshold has to be 1 more than 2^31 - 1."""
    width = 500
    W = np.full((6, width), 127, np.int8)
    ends = np.array([2**31 - 1, 2**31 - 1, -(2**31), -(2**31), 2**24 + 1, 2**24 + 1], np.int32)
    falling = np.array([False, True] * 3)
    W[4:] = rng.choice([-127, 127], (2, width))
    sums = IntegerDense((width,), (6,), W, "numbers")
    shape = (6,)
    stages = [to_ends((width, 1)), sums]
    if kind == "threshold":
        stages.append(ThresholdStage(shape, shape, ends, falling))
        stages.append(scale(shape, "bits", [1] * 6, [0] * 6))
    else:
        stages.append(LevelStage(shape, shape, np.stack([ends, ends - ends % 7], 1), falling))
    packed = scored((width, 1), *stages)
    images = images_for(packed, rng, 60)
    found = packed.predict_scores(images)
    assert [len(set(column)) for column in found.T.tolist()][:4] == [1] * 4
    assert len(np.unique(found[:, 4])) > 1
    check(runtime, packed, exported(packed), images)


# --- branches -------------------------------------------------------------------------------------


def test_sums_of_branches_at_their_ends(runtime, exported):
    shape = (2,)
    stages = [
        to_ends(shape),
        scale(shape, "pixels", [-256] * 2, [32767] * 2, sources=(-1,)),
        AddStage(shape, shape, sources=(0, 1, 1)),
        scale(shape, "pixels", [1, 0], [-32768, 0], sources=(-1,)),
        scale(shape, "pixels", [0, 1], [0, 32512], sources=(-1,)),
        AddStage(shape, shape, sources=(3, 4)),
        ConcatStage(shape, (6,), (2, 2, 2), sources=(2, 5, 0)),
    ]
    packed = scored(shape, *stages)
    images = np.array(list(itertools.product([0, 1, 127, 128, 254, 255], repeat=2)), np.uint8)
    found = packed.predict_scores(images)
    assert (found.min(), found.max()) == (-32768, 32767)
    check(runtime, packed, exported(packed), images)
