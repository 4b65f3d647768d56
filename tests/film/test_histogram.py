"""Histograms around zero: what is counted where, and ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minibnn.film.histogram import BINS, axes_of, histogram, reach_of


def places(values, reach=4.0):
    """The bins in which values are counted: 0 is below the range, BINS + 1 above."""
    return np.flatnonzero(histogram(np.array(values), reach)).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_value_is_counted_where_it_lies(dtype, rng):
    values = rng.normal(0, 2, 5000).astype(dtype)
    edges = np.linspace(-4, 4, BINS + 1)
    expected = [np.sum(values < -4), *np.histogram(values, edges)[0], np.sum(values > 4)]
    found = histogram(values.reshape(50, 100), 4.0)
    assert found.dtype == np.uint32
    assert found.tolist() == expected


def test_edges():
    half = BINS // 2
    assert places([0.0]) == places([-0.0]) == [half + 1]  # as sign(0) is +1
    assert places([-1e-9]) == [half]
    assert places([-4.0]) == [1]
    assert places([4.0]) == [BINS], "the bound of latent weights belongs to the range"
    assert places([0.1], 0.1) == [BINS]
    assert places([-0.1], 0.1) == [1]
    assert places([4.0001, math.inf, 1e300]) == [BINS + 1]
    assert places([-4.0001, -math.inf]) == [0]
    assert histogram(np.array([math.nan, 1.0]), 4.0).sum() == 1
    assert histogram(np.zeros(0, np.float32), 1.0).sum() == 0


@pytest.mark.parametrize(
    ("values", "reach"),
    [([1.0, -1.0], 1.0), ([0.1, -0.1], 0.125), ([0.0], 1.0), ([], 1.0), ([math.nan], 1.0),
     ([3.0, math.inf], 4.0), ([1e-30, -1e-30], 2.0**-99)],
)  # fmt: skip
def test_reach(values, reach):
    assert reach_of(np.array(values)) == reach
    assert reach_of(np.array(values, np.float32)) == reach


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_and_the_smallest_numbers(dtype):
    limits = np.finfo(dtype)
    for value in (limits.max, limits.smallest_normal, limits.smallest_subnormal):
        values = np.array([-value, value, 0], dtype)
        counts = histogram(values, reach_of(values))
        assert counts.sum() == 3
        assert counts[: BINS // 2 + 1].sum() == 1


def test_a_value_far_out_does_not_widen_the_range(rng):
    values = rng.normal(size=10_000).astype(np.float32)
    assert reach_of(values) == 4.0
    values[0] = 100
    assert reach_of(values) == 8.0
    assert reach_of(1000 * values) == 1024 * 8.0


def test_axes_are_the_ranges_of_most_frames():
    reaches = np.array([[128, 1, 2], [4, 1, 4], [8, 1, 8], [8, 1, 16]], float)
    assert axes_of(reaches).tolist() == [8, 1, 8]
    assert axes_of(reaches[:1]).tolist() == [128, 1, 2]
    assert axes_of(np.zeros((3, 0))).shape == (0,)
