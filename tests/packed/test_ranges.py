"""Ranges: none is too narrow, and those of sums and of other shapes are as narrow as can be."""

from __future__ import annotations

import numpy as np
import pytest
from integer_programs import random_program

from minibnn.packed import ranges as module
from minibnn.packed.integer_stages import IntegerConv, IntegerDense, SumPoolStage
from minibnn.packed.ranges import Range, largest_sum, range_of, ranges
from minibnn.packed.stages import run_stages


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


def test_no_value_is_beyond_its_range():
    for i in range(60):
        rng = np.random.default_rng([3, i])
        packed = random_program(rng)
        x = rng.integers(0, 256, (20, *packed.input_shape), np.uint8)
        x[:2] = np.array([0, 255]).reshape(2, *[1] * len(packed.input_shape))
        for n, (low, high) in enumerate(ranges(packed.input_shape, packed.stages), start=1):
            values = run_stages(packed.stages, x, n).astype(np.int64)
            values = values.reshape(-1, values.shape[-1])
            assert (values >= low).all()  # bits, too, are 0 or 1 and no less than -1
            assert (values <= high).all()
            assert low.shape == high.shape == (packed.stages[n - 1].out_shape[-1],)
