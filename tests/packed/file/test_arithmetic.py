"""Integers fit into their types for every input: each limit, from both sides."""

from __future__ import annotations

import numpy as np
import pytest
from integer_programs import random_program

from minibnn.packed.file.arithmetic import with_checked_sizes
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
from minibnn.packed.stages import ScoreStage, ThresholdStage

ONE = (1, 1, 1)
ONCE = (1, 1)


def numbers(high, low=0):
    """A stage that turns pixels into numbers from `low` to `high`, exactly; shift 8."""
    top = 256 * (high - low)
    return ScaleStage(ONE, ONE, "pixels", np.array([-(-top // 255)]), np.array([256 * low]), 8)


def scale(A, B, shift, takes="numbers", **more):
    return ScaleStage(ONE, ONE, takes, np.array([A]), np.array([B]), shift, **more)


def slope(A, shift=8):
    return SlopeStage(ONE, ONE, np.array([A]), shift)


def scores(A, B=0, **more):
    floats = np.ones(1, np.float32)
    A, B = (np.array([n], np.int64) for n in (A, B))
    return ScoreStage((1,), (1,), A, B, 0, True, floats, floats, **more)


def dense(weights, takes):
    W = np.array([weights], np.int8)
    return IntegerDense((W.size,), (1,), W, takes)


def conv(weight, value, border):
    W = np.array([[weight]], np.int8)
    return IntegerConv(ONE, (2, 1, 1), W, "numbers", ONCE, ONCE, ONCE, border, value, 1)


def threshold(t):
    return ThresholdStage(ONE, ONE, np.array([t], np.int32), np.array([False]))


def levels(*thresholds, falling=False):
    return LevelStage(ONE, ONE, np.array([thresholds], np.int32), np.array([falling]))


def add(*sources):
    return AddStage(ONE, ONE, sources=sources)


CASES = {
    "sums": ([dense([127] * 66_310, "pixels")], [dense([127] * 66_312, "pixels")], "fit into int32"),
    "partial sums": (
        [dense([127, -127] * 33_155, "pixels")], [dense([127, -127] * 33_156, "pixels")], "fit into int32",
    ),
    "scale to 16 bits": ([numbers(32767, -32768)], [numbers(32768, 0)], "numbers in 16 bits"),
    "scale to 16 bits below": ([numbers(0, -32768)], [numbers(0, -32769)], "numbers in 16 bits"),
    "factor": ([scale(2**31 - 1, 0, 48, "pixels")], [scale(2**31, 0, 48, "pixels")], "factors below"),
    "factor below": ([scale(1 - 2**31, 0, 48, "pixels")], [scale(-(2**31), 0, 48, "pixels")], "factors below"),
    "summand": ([scale(0, 2**52 - 1, 48, "pixels")], [scale(0, 2**52, 48, "pixels")], "A v"),
    "summand below": ([scale(0, 1 - 2**52, 48, "pixels")], [scale(0, -(2**52), 48, "pixels")], "A v"),
    "summand of 63 bits": ([], [scale(0, -(2**63), 48, "pixels")], "A v"),
    "product": (
        [scale(2**30, 2**52 - 1 - 255 * 2**30, 48, "pixels")], [scale(2**30, 2**52 - 255 * 2**30, 48, "pixels")], "A v",
    ),
    "slope's factor": ([numbers(3, 0), slope(2**31 - 1)], [numbers(3, 0), slope(2**31)], "factors"),
    "slope": ([numbers(0, -1), slope(32767 * 256)], [numbers(0, -1), slope(32769 * 256)], "16 bits"),
    "slope above": ([numbers(0, -1), slope(-32767 * 256)], [numbers(0, -1), slope(-32768 * 256)], "16 bits"),
    "add": ([numbers(30_000), scale(1, 0, 0), scale(0, 2767, 0), add(1, 2)],
            [numbers(30_000), scale(1, 0, 0), scale(0, 2768, 0), add(1, 2)], "sums of numbers in 16 bits"),
    "add in order": ([numbers(30_000), scale(0, -9, 0), add(0, 1, 0)][:2],
                     [numbers(30_000), scale(0, -30_000, 0, sources=(0,)), add(0, 0, 1)], "sums of numbers"),
    "padding": ([numbers(3), conv(127, 300, ((0, 1), (0, 0))), scale(1, -7000, 0, "acc")],
                [numbers(3), conv(127, 300, ((0, 1), (0, 0))), scale(1, 0, 0, "acc")], "numbers in 16 bits"),
    "no padding": ([numbers(3), conv(127, 30_000, ((0, 0), (0, 0))), scale(1, 0, 0, "acc")], [], ""),
    "threshold": ([numbers(9), threshold(10)], [numbers(9), threshold(11)], "within the sums' reach"),
    "threshold below": ([numbers(9), threshold(-1)], [numbers(9), threshold(-2)], "within the sums' reach"),
    "levels": ([numbers(9), levels(-1, 10)], [numbers(9), levels(-1, 11)], "within the sums' reach"),
    "levels below": ([numbers(9), levels(10, -1)], [numbers(9), levels(10, -2)], "within the sums' reach"),
    "scores": ([numbers(1), scores(2**61)], [numbers(1), scores(2**61, 2**61)], "scores in 62 bits"),
    "scores of 63 bits": ([], [numbers(1), scores(-(2**63))], "scores in 62 bits"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_limits(name):
    fits, beyond, match = CASES[name]
    for stages in (fits, beyond):
        for stage in stages:
            assert all(
                a.dtype in (np.int8, np.int32, np.int64, np.bool_, np.float32)
                for a in stage.arrays().values()
            )
    with_checked_sizes(shape(fits), tuple(fits))
    if beyond:
        with pytest.raises(ValueError, match=rf"stage {len(beyond) - 1}: expected .*{match}"):
            with_checked_sizes(shape(beyond), tuple(beyond))


def shape(stages):
    return stages[0].in_shape if stages else ONE


def test_sums_of_windows():
    """2^16 numbers of 2^15."""
    image = (2**8, 2**8, 1)
    zeros = np.zeros(1, np.int64)
    for low, fits in ((-(2**15), False), (1 - 2**15, True)):
        stages = (
            ScaleStage(image, image, "pixels", zeros, zeros + low, 0),
            SumPoolStage(image, ONE, "numbers", image[:2], ONCE),
        )
        if fits:
            with_checked_sizes(image, stages)
            continue
        with pytest.raises(ValueError, match="stage 1: expected sums that fit into int32"):
            with_checked_sizes(image, stages)


def test_each_channel_has_its_own_limits():
    """Through a concatenation, and from one shape to another."""
    A, B = np.array([0, 1]), np.array([-5, 3])
    t = np.array([-6, -4, 2, 259], np.int32)
    two = ScaleStage((1, 2), (1, 2), "pixels", A, B, 0)
    both = ConcatStage((1, 2), (1, 4), (2, 2), sources=(0, 0))
    order = np.array([-6, 2, -4, 259], np.int32)
    for thresholds, fits in ((order, True), (t, False)):
        last = ThresholdStage((1, 4), (1, 4), thresholds, np.zeros(4, bool))
        if fits:
            with_checked_sizes((1, 2), (two, both, last))
            continue
        with pytest.raises(ValueError, match="within the sums' reach"):
            with_checked_sizes((1, 2), (two, both, last))


def test_scores_know_their_size():
    for A, small in ((2**31 - 1, True), (2**31, False)):
        stages = with_checked_sizes(ONE, (numbers(1), scores(A)))
        assert stages[-1].fits_int32 == small


def test_random_programs_fit():
    for i in range(200):
        packed = random_program(np.random.default_rng([4, i]))
        stages = with_checked_sizes(packed.input_shape, packed.stages)
        assert stages[-1].fits_int32 == packed.stages[-1].fits_int32
        assert stages[:-1] == packed.stages[:-1]
