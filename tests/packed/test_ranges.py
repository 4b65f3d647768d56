"""Ranges: no value is beyond them, and values whose channels are independent reach them."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from integer_programs import random_program

from minibnn.packed import ranges as module
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
)
from minibnn.packed.ranges import Range, constant, largest_sum, range_of, ranges
from minibnn.packed.stages import (
    ConvStage,
    DenseStage,
    PoolStage,
    ScoreStage,
    ThresholdStage,
    run_stages,
)

# Every image of two pixels, and images of more pixels with few values.
TWO = np.array(list(itertools.product(range(256), repeat=2)), np.uint8)


def few(count, values=(0, 255)):
    return np.array(list(itertools.product(values, repeat=count)), np.uint8)


def as_list(found):
    return found.low.tolist(), found.high.tolist()


def by_channel(y, stage):
    """The output of a stage as rows of channels; bits, the only bytes, as -1 and +1."""
    rows = y.reshape(-1, stage.out_shape[-1]).astype(np.int64)
    return 2 * rows - 1 if y.dtype == np.uint8 else rows


def ends(stages, x):
    """The least and the greatest value of each channel of the last stage, over samples."""
    y = run_stages(tuple(stages), x, len(stages))
    y = y.reshape(-1, stages[-1].out_shape[-1]).astype(np.int64)
    if isinstance(stages[-1], ThresholdStage) or (stages[-1].kind == "pool" and y.max() == 1):
        y = 2 * y - 1
    return y.min(axis=0).tolist(), y.max(axis=0).tolist()


def scale(shape, takes, A, B, shift=0, **options):
    A, B = (np.array(v, np.int64) for v in (A, B))
    return ScaleStage(shape, shape, takes, A, B, shift, **options)


def int8(*rows):
    return np.array(rows, np.int8)


@pytest.fixture
def reached():
    """Compare the range of the last stage with all values that it gives."""

    def reached(stages, x):
        found = ranges(x.shape[1:], tuple(stages))
        assert len(found) == len(stages)
        assert found[-1].low.dtype == found[-1].high.dtype == np.int64
        assert as_list(found[-1]) == ends(stages, x)
        return found

    return reached


# --- of all stages --------------------------------------------------------------------------------


def test_no_value_is_beyond_its_range():
    """Random programs on noise, on extreme images, and on what weights make extreme."""
    kinds, touched = Counter(), Counter()
    for seed in range(250):
        rng = np.random.default_rng(seed)
        packed = random_program(rng)
        x = rng.integers(0, 256, (24, *packed.input_shape), np.uint8)
        x[:12] = rng.choice([0, 255], x[:12].shape)
        x[0], x[1] = 0, 255
        found = ranges(packed.input_shape, packed.stages)
        for i, stage in enumerate(packed.stages):
            y = by_channel(run_stages(packed.stages, x, i + 1), stage)
            low, high = found[i]
            assert low.shape == high.shape == (stage.out_shape[-1],)
            assert (low <= y).all(), (seed, i, stage.kind)
            assert (y <= high).all(), (seed, i, stage.kind)
            kinds[stage.kind] += 1
            touched[stage.kind] += bool((y == low).any() or (y == high).any())
    assert len(kinds) == 13
    # Of dense layers at the end, extremes take images that are made for them.
    assert min(touched[kind] for kind in kinds if kind != "dense") >= 15


def test_extremes_of_the_first_product(rng):
    """Images made of a row's signs reach the sums of that row."""
    for seed in range(40):
        W = np.random.default_rng(seed).integers(-127, 128, (4, 30)).astype(np.int8)
        x = np.concatenate([np.where(W > 0, 255, 0), np.where(W < 0, 255, 0)]).astype(np.uint8)
        stage = IntegerDense((30,), (4,), W, "pixels")
        assert as_list(ranges((30,), (stage,))[0]) == ends([stage], x)


# --- of each kind ---------------------------------------------------------------------------------


def test_products_of_pixels(reached):
    signs = np.array([[1, 1], [0, 0], [1, 0]], np.uint8)
    reached([DenseStage((2,), (3,), pack_rows(signs), 2, True)], TWO)
    reached([IntegerDense((2,), (3,), int8([3, -5], [0, 127], [-127, -1]), "pixels")], TWO)


def test_products_of_bits(reached):
    bits = ThresholdStage((2,), (2,), np.array([9, 200], np.int32), np.array([False, True]))
    signs = np.array([[1, 1], [0, 1]], np.uint8)
    assert as_list(reached([bits], TWO)[0]) == ([-1, -1], [1, 1])
    reached([bits, DenseStage((2,), (2,), pack_rows(signs), 2, False)], TWO)
    reached([bits, IntegerDense((2,), (3,), int8([3, -5], [0, 7], [-1, -1]), "bits")], TWO)


def test_products_of_channels_with_other_ranges(reached):
    """Each of two channels has its own range; so have the values of two positions."""
    first = scale((2,), "pixels", [2, -3], [-7, 1])
    reached([first, IntegerDense((2,), (3,), int8([3, -5], [-4, 7], [-1, -1]), "numbers")], TWO)
    first = scale((2, 2), "pixels", [2, -3], [-7, 1])
    W = int8([3, -5, 1, 0], [-4, 7, -1, 2], [-1, -1, 3, 4])
    for in_shape in ((4,), (2, 2)):
        stages = [first, IntegerDense(in_shape, (3,), W, "numbers")]
        reached(stages, few(4).reshape(-1, 2, 2))


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions(groups, reached):
    """The channels of a window vary fastest; a group has its own."""
    first = scale((1, 2, 2), "pixels", [2, -3], [-7, 100], 2)
    W = int8(*[[3, -5, 1, 2], [-4, 7, -1, 2]]) if groups == 1 else int8([3, -5], [-4, 7])
    no_border = ((0, 0), (0, 0))
    conv = IntegerConv((1, 2, 2), (1, 1, 2), W, "numbers", (1, 2), (1, 1), (1, 1), no_border, 0,
                       groups)  # fmt: skip
    reached([first, conv], few(4).reshape(-1, 1, 2, 2))


@pytest.mark.parametrize("border_value", [-300, 0, 7, 300])
def test_borders(border_value, reached):
    """A window inside of the border, and others inside of the image; the image's are 5 to 260."""
    first = scale((1, 2, 1), "pixels", [1], [5])
    conv = IntegerConv((1, 2, 1), (2, 3, 3), int8([1, 1], [-1, -2], [0, 3]), "numbers", (1, 2),
                       (1, 1), (1, 1), ((1, 0), (0, 2)), border_value, 1)  # fmt: skip
    found = ranges((1, 2, 1), (first, conv))[1]
    low, high = min(5, border_value), max(260, border_value)
    assert as_list(found) == ([2 * low, -3 * high, 3 * low], [2 * high, -3 * low, 3 * high])
    reached([first, conv], few(2).reshape(-1, 1, 2, 1))


def test_borders_of_no_width_do_not_count(reached):
    conv = IntegerConv((1, 2, 1), (1, 1, 1), int8([1, 1]), "numbers", (1, 2), (1, 1), (1, 1),
                       ((0, 0), (0, 0)), -999, 1)  # fmt: skip
    reached([scale((1, 2, 1), "pixels", [1], [5]), conv], few(2).reshape(-1, 1, 2, 1))


def test_convolutions_of_bits(reached):
    x = few(4).reshape(-1, 2, 2, 1)
    bits = ThresholdStage((2, 2, 1), (2, 2, 1), np.array([9], np.int32), np.array([False]))
    words = pack_rows(np.array([[1, 1, 0, 1]], np.uint8))
    conv = ConvStage((2, 2, 1), (2, 1, 1), words, 4, False, (2, 2), (1, 1), (1, 1),
                     ((1, 0), (0, 0)), 0)  # fmt: skip
    assert as_list(reached([bits, conv], x)[1]) == ([-4], [4])
    reached([bits, PoolStage((2, 2, 1), (1, 1, 1), (2, 2), (1, 1))], x)
    reached([bits, SumPoolStage((2, 2, 1), (1, 2, 1), "bits", (2, 1), (1, 1))], x)


def test_windows_of_numbers(reached):
    x = few(8, (0, 99, 255)).reshape(-1, 2, 2, 2)
    first = scale((2, 2, 2), "pixels", [128, -128], [LEAST, MOST])
    reached([first, PoolStage((2, 2, 2), (1, 1, 2), (2, 2), (1, 1))], x)
    pooled = SumPoolStage((2, 2, 2), (1, 1, 2), "numbers", (2, 2), (1, 1))
    assert reached([first, pooled], x)[1].low.tolist() == [4 * LEAST, 4 * (MOST - 128 * 255)]


def test_levels(reached):
    """From 0 to all, whatever is reached: here everything is."""
    t = np.array([[1, 9, 70], [3, 2, 1]], np.int32)
    levels = LevelStage((2,), (2,), t, np.array([False, True]))
    assert as_list(reached([levels], TWO)[0]) == ([0, 0], [3, 3])


@pytest.mark.parametrize("shift", [0, 3, 40])
def test_scales(shift, reached):
    """Both signs of factors, rounded down."""
    A, B = [2**shift * 3 + 1, -(2**shift) * 2 - 1], [-(2**shift) - 1, 2**shift // 2]
    reached([scale((2,), "pixels", A, B, shift)], TWO)
    bits = ThresholdStage((2,), (2,), np.array([9, 200], np.int32), np.array([False, False]))
    reached([bits, scale((2,), "bits", A, B, shift)], TWO)
    product = IntegerDense((2,), (2,), int8([1, -1], [-3, -5]), "pixels")
    reached([product, scale((2,), "acc", A, B, shift)], TWO)


@pytest.mark.parametrize("offset", [-128, 0, -255, 40, -300])
@pytest.mark.parametrize("A", [(3, -3), (8, -8), (0, 9)])
def test_slopes(offset, A, reached):
    """Ranges on either side of 0 and across it; with a negative slope both ends go up."""
    first = scale((2,), "pixels", [1, 1], [offset, offset])
    reached([first, SlopeStage((2,), (2,), np.array(A), 3)], TWO)


def test_branches(reached):
    """One branch takes the first pixel, the other one the second."""
    stages = [
        IntegerDense((2,), (2,), int8([1, 0], [-1, 0]), "pixels"),
        scale((2,), "acc", [3, 5], [-9, 2], 1),
        IntegerDense((2,), (2,), int8([0, 1], [0, 7]), "pixels", sources=(-1,)),
        scale((2,), "acc", [-2, 1], [5, 6], 2),
        AddStage((2,), (2,), sources=(1, 3)),
    ]
    reached(stages, TWO)
    found = reached([*stages, ConcatStage((2,), (4,), (2, 2), sources=(4, 1))], TWO)
    assert as_list(found[5]) == tuple(
        a + b for a, b in zip(as_list(found[4]), as_list(found[1]), strict=True)
    )


def test_sources_join_in_the_shape_of_the_result(reached):
    """A flat source of 4 values is 2 channels at each of 2 positions."""
    stages = [
        IntegerDense((2,), (4,), int8([1, 0], [0, -1], [2, 0], [0, 3]), "pixels"),
        scale((4,), "acc", [1] * 4, [0] * 4),
        scale((2, 1), "pixels", [-1], [9], sources=(-1,)),
        ConcatStage((2, 2), (2, 3), (2, 1), sources=(1, 2)),
    ]
    assert as_list(reached(stages, few(2))[3]) == ([0, -255, -246], [510, 765, 9])


def test_scores(reached):
    one = np.ones(2, np.float32)
    A, B = np.array([3, -(2**40)]), np.array([-1, 2**41])
    product = IntegerDense((2,), (2,), int8([1, -1], [-3, -5]), "pixels")
    reached([product, ScoreStage((2,), (2,), A, B, 0, False, one, one)], TWO)


# --- shapes ---------------------------------------------------------------------------------------


def test_ranges_of_other_shapes():
    found = Range(np.array([1, -2, 3]), np.array([4, 5, 6]))
    assert found.of_shape((2, 3), (2, 1, 3)) is found
    assert as_list(found.of_shape((2, 3), (6,))) == ([1, -2, 3] * 2, [4, 5, 6] * 2)
    assert as_list(found.of_shape((2, 3), (3, 2))) == ([-2, -2], [6, 6])
    assert as_list(found.of_shape((3,), (3, 1))) == ([-2], [6])
    flat = Range(np.array([1, -2, 3, 0]), np.array([4, 5, 6, 9]))
    assert as_list(flat.of_shape((4,), (2, 2))) == ([1, -2], [6, 9])


def test_within():
    found = Range(np.array([-3, 0]), np.array([2, 9]))
    assert found.within(-3, 9)
    assert not found.within(-2, 9)
    assert not found.within(-3, 8)


def test_constant():
    assert as_list(constant(-1, 5, 3)) == ([-1] * 3, [5] * 3)


def test_range_of_takes_the_sources_as_they_are():
    stage = SumPoolStage((2, 2, 2), (1, 1, 2), "numbers", (2, 2), (1, 1))
    taken = [Range(np.array([-5, 2]), np.array([1, 3]))]
    assert as_list(range_of(stage, taken)) == ([-20, 8], [4, 12])


# --- of sums --------------------------------------------------------------------------------------


def random_range(rng, channels):
    ends = np.sort(rng.integers(-300, 300, (2, channels)), axis=0)
    return Range(*ends)


@pytest.mark.parametrize(
    ("before", "after"),
    [((4, 6), (24,)), ((24,), (4, 6)), ((2, 3, 6), (9, 4)), ((5, 4), (4, 5)), ((3, 2), (3, 2))],
)
def test_other_shapes(before, after, rng):
    """Against every value on its own."""
    taken = random_range(rng, before[-1])
    low, high = (np.broadcast_to(end, before).reshape(-1, after[-1]) for end in taken)
    found = taken.of_shape(before, after)
    np.testing.assert_array_equal(found.low, low.min(axis=0))
    np.testing.assert_array_equal(found.high, high.max(axis=0))


@pytest.mark.parametrize("block", [1, 50, 2**18])
@pytest.mark.parametrize("border", [((0, 0), (0, 0)), ((1, 0), (0, 2))])
def test_sums(block, border, rng, monkeypatch):
    """Against every weight on its own; in blocks or at once."""
    monkeypatch.setattr(module, "BLOCK", block)
    weights = rng.integers(-9, 10, (6, 2 * 3 * 2), dtype=np.int8)
    more = (2, 3), (1, 1), (1, 1), border, 400, 3
    stage = IntegerConv((9, 9, 6), (8, 7, 6), weights, "numbers", *more)
    taken = random_range(rng, 6)
    low, high = taken
    if any(map(any, border)):
        low, high = np.minimum(low, 400), np.maximum(high, 400)
    found, most = range_of(stage, [taken]), 0
    for c in range(6):
        ends = [
            sorted((int(w) * int(low[k]), int(w) * int(high[k])))
            for w, k in zip(weights[c], np.tile([c // 2 * 2, c // 2 * 2 + 1], 6), strict=True)
        ]
        assert (found.low[c], found.high[c]) == tuple(map(sum, zip(*ends, strict=True)))
        most = max(most, sum(max(abs(a), abs(b)) for a, b in ends))
    assert largest_sum(stage, taken) == most


def test_partial_sums():
    dense = IntegerDense((2,), (1,), np.array([[1, -1]], np.int8), "numbers")
    at_most = Range(np.array([5, 5]), np.array([7, 7]))
    assert range_of(dense, [at_most]) == (np.array([-2]), np.array([2]))
    assert largest_sum(dense, at_most) == 14
    pool = SumPoolStage((3, 3, 2), (1, 1, 2), "numbers", (3, 3), (1, 1))
    assert largest_sum(pool, Range(np.array([-8, 0]), np.array([1, 7]))) == 72
