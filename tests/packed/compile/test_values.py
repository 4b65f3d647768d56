"""From one value to the next: fixed-point numbers, their units, and the errors that they have."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibnn import (
    Activation,
    BatchNorm,
    DoReFaActivations,
    Heaviside,
    Rescale,
    SignSTE,
    Standardize,
)
from minibnn.packed.compile import bounds
from minibnn.packed.compile.fold import Fold, Integers
from minibnn.packed.compile.values import (
    Steps,
    Value,
    as_affine,
    common_unit,
    error_of,
    fixed_point,
    reach_of,
)
from minibnn.packed.integer_stages import LEAST, MOST
from minibnn.packed.ranges import Range
from minibnn.packed.stages import PoolStage

F = Fraction
ANY, SAME, FLOAT = bounds.ANY, bounds.SAME, bounds.FLOAT
fractions = st.fractions(-1000, 1000, max_denominator=10**6)
affine = st.tuples(fractions, fractions)


ONE = F(1)


def value(low, high, holds="acc", unit=ONE, error=None):
    low, high = (np.array(end, np.int64) for end in (low, high))
    n = len(low)
    error = bounds.no_error(n) if error is None else error
    return Value(holds, 0, (n,), (n,), Range(low, high), unit, error)


def inputs(v):
    """The ends of all channels, and values between them: (samples, channels) of int32."""
    ends = np.linspace(0, 1, 101)[:, None]
    low, high = v.range
    return np.rint(low + (high - low) * ends).astype(np.int32)


def lost(of, unit, v, y):
    """The largest difference between numbers and values, in units, exact."""
    x = inputs(v)
    return max(
        abs(F(number) - (a * acc + b) / unit)
        for (a, b), accs, numbers in zip(of, x.T.tolist(), y.T.tolist(), strict=True)
        for acc, number in zip(accs, numbers, strict=True)
    )


def scaled(v, unit, of, error=None):
    steps = Steps([None])
    found = steps.scaled(v, unit, of, bounds.no_error(len(of)) if error is None else error)
    return found, steps.steps[-1]


@settings(max_examples=200, deadline=None)
@given(st.lists(affine, min_size=1, max_size=4), st.integers(0, 2**31 - 1))
def test_scaled_values_are_near_the_exact_ones(of, most):
    v = value([-most] * len(of), [most] * len(of))
    largest = max(abs(end) for ends in reach_of(v, of) for end in ends)
    unit = fixed_point(largest)
    found, stage = scaled(v, unit, of)
    assert found.holds == "numbers"
    assert found.unit == unit
    assert found.range.within(LEAST, MOST)
    y = stage.run(inputs(v))
    assert (y >= found.range.low).all()
    assert (y <= found.range.high).all()
    bound = found.error[SAME].max() / float(unit)
    assert lost(of, unit, v, y) <= bound * bounds.SLACK
    # Half of a unit and what the factors lose, little even with sums of 32 bits.
    assert bound == 0 or 0.5 < bound < 0.7
    assert not found.error[FLOAT].any()
    assert abs(stage.A).max() < 2**31
    assert (
        max(abs(int(a)) * most + abs(int(b)) for a, b in zip(stage.A, stage.B, strict=True)) < 2**52
    )


def test_what_rounding_loses_is_reached():
    """Without the half of a unit, the bound would be too small."""
    of = [(F(1, 3), F(1, 6))]
    v = value([-20000], [20000])
    found, stage = scaled(v, F(1), of)
    assert lost(of, F(1), v, stage.run(inputs(v))) > 0.99 * found.error[SAME].max()


def test_what_factors_lose_is_reached():
    """A slope between two factors, with large sums, where this is as much as a rounding."""
    of = [(F(3, 2**19), F(1, 2) - F(1, 2**10)), (F(2**11), F(0))]  # the second gives the shift
    v = value([-(2**19), -10], [2**19, 10])
    found, stage = scaled(v, F(1), of)
    assert stage.shift == 18
    assert 1.49 < lost(of, F(1), v, stage.run(inputs(v))) < found.error[SAME].max() < 1.51


def test_multiples_of_the_unit_are_exact():
    of = [(F(3, 4), F(1, 2)), (F(-1, 4), F(0))]
    v = value([-100, -50], [100, 70])
    found, stage = scaled(v, F(1, 4), of)
    assert stage.shift == 0
    assert not found.error.any()
    assert not found.rounded
    assert lost(of, F(1, 4), v, stage.run(inputs(v))) == 0


def test_a_constant_channel_counts_by_its_value():
    """Its slope may be too large for any shift."""
    of = [(F(10**30), F(-7 * 10**30) + 3), (F(1), F(0))]
    v = value([7, -5], [7, 5])
    found, stage = scaled(v, F(1), of)
    assert stage.A.tolist() == [0, 1]
    assert lost(of, F(1), v, stage.run(inputs(v))) == 0
    assert found.range.low.tolist() == [3, -5]


@pytest.mark.parametrize("low", [2**31 - 3, -(2**31)])
def test_terms_much_larger_than_their_sum(low):
    """The steepest slopes, far from 0, still leave bits behind the point."""
    of = [(F(98300, 3), F(-98300, 3) * (low + 1))]
    v = value([low], [low + 2])
    found, stage = scaled(v, F(1), of)
    assert stage.shift >= 3
    assert lost(of, F(1), v, stage.run(inputs(v))) <= found.error[SAME].max()


@pytest.mark.parametrize("width", [2, 9, 100, 5000])
def test_ranges_far_from_0_lose_no_more_than_others(width):
    """What the slope is rounded by would count two thousand million times from 0."""
    rise = F(2**17 - 3, 4 * width)  # to nearly the largest number
    for low in (2**31 - 1 - width, -(2**31), 2**30):
        of = [(rise, -rise * (low + F(width, 2)))]
        v = value([low], [low + width])
        found, stage = scaled(v, F(1), of)
        assert found.range.within(LEAST, MOST)
        assert lost(of, F(1), v, stage.run(inputs(v))) <= found.error[SAME].max()
        assert found.error[SAME].max() < 0.6 + width / 2**stage.shift


def test_errors_go_on():
    error = np.array([[1.0, 2], [3, 4], [5, 6]])
    found, _ = scaled(value([-9, -9], [9, 9]), F(1), [(F(1, 3), F(0))] * 2, error)
    assert (found.error[:FLOAT] - error[:FLOAT] > 0.5).all()
    assert (found.error[:FLOAT] - error[:FLOAT] < 0.51).all()
    np.testing.assert_array_equal(found.error[FLOAT], error[FLOAT])
    assert error[0, 0] == 1  # a copy


@given(st.fractions(F(1, 10**30), 10**30, max_denominator=10**30))
def test_fixed_point_is_the_finest_power_of_two(largest):
    unit = fixed_point(largest)
    assert math.log2(unit).is_integer()
    assert largest / unit <= MOST - 1 < 2 * largest / unit


@pytest.mark.parametrize("exponent", [-80, -1, 0, 1, 80])
def test_fixed_point_at_powers_of_two(exponent):
    assert fixed_point(F(MOST - 1) * F(2) ** exponent) == F(2) ** exponent
    assert fixed_point(F(MOST) * F(2) ** exponent) == F(2) ** (exponent + 1)
    assert fixed_point(F(0)) == 1


@given(st.lists(affine, min_size=1, max_size=4))
def test_common_unit_divides_all_and_is_the_greatest(of):
    unit = common_unit(of)
    numbers = [n / unit for pair in of for n in pair]
    assert all(n.denominator == 1 for n in numbers)
    assert math.gcd(*(int(n) for n in numbers)) in ((1,) if any(numbers) else (0,))


def test_reach_of_falling_and_rising_lines():
    v = value([-2, -2, 4], [3, 3, 4])
    assert reach_of(v, [(F(2), F(1)), (F(-2), F(1)), (F(1), F(0))]) == ([-3, -5, 4], [7, 5, 4])


# --- folds ----------------------------------------------------------------------------------------


def fold(v, unit, activation=None, norm=None, **options):
    n = len(v.range.low)
    zero = (F(0),) * n
    return Fold("here", Integers(*v.range), None, unit, zero, norm, activation, **options)


def test_values_as_affine_functions():
    v = value([0, 0], [9, 9])
    units = (F(2), F(-3))
    with_fold = value([0, 0], [9, 9])
    with_fold = Value(**{**vars(v), "fold": fold(v, units)})
    assert as_affine(with_fold) == [(2, 0), (-3, 0)]
    front = Rescale(5, 4), Standardize(1), Rescale(3, 2)
    pixels = Value(**{**vars(value([0], [255], "pixels")), "front": front})
    assert as_affine(pixels) == [(15, 14)]
    assert as_affine(value([0], [9], "numbers", F(1, 8))) == [(F(1, 8), 0)]
    assert as_affine(value([-1], [1], "bits")) == [(1, 0)]


def test_errors_of_accumulators_are_taken_by_the_slopes():
    error = np.array([[1.0, 1], [2, 2], [0, 0]])
    norm = BatchNorm(2, epsilon=0.0 + 1e-9).initialize(0, np.float64)
    norm.gamma.data[...] = 3, -0.5
    norm.running_var.data[...] = 4, 1
    v = value([-9, -9], [9, 9], error=error)
    v = Value(**{**vars(v), "fold": fold(v, (F(2), F(2)), norm=norm)})
    np.testing.assert_allclose(error_of(v)[SAME], [3, 1], rtol=1e-6)
    np.testing.assert_allclose(error_of(v)[ANY], [6, 2], rtol=1e-6)
    assert (error_of(v)[FLOAT] > 0).all()
    assert (error_of(v)[FLOAT] < 1e-12).all()
    assert error[FLOAT].tolist() == [0, 0]
    assert error_of(value([0], [1], error=np.ones((3, 1)))).tolist() == [[1], [1], [1]]


@pytest.mark.parametrize(
    ("function", "holds", "unit", "most", "step"),
    [
        (SignSTE(), "bits", 1, 2, 2),
        (DoReFaActivations(2), "numbers", F(1, 3), 1, 1 / 3),
        (Heaviside(), "numbers", 1, 1, 1),
    ],
)
def test_a_sign_or_levels_after_what_was_rounded(function, holds, unit, most, step):
    """A channel far from all thresholds keeps its value; others may be off by a step more."""
    low, high = [-50, 10, -50], [50, 50, -10]
    for off in (0.0, 0.1, 5.0):
        error = np.array([[0.1] * 3, [off] * 3, [0.2] * 3])
        v = value(low, high, "numbers", F(1), error)
        steps = Steps([None])
        found = steps.put_fold(v, fold(v, (F(1),) * 3, Activation(function)))
        assert (found.holds, found.unit) == (holds, unit)
        expected = min(off + step, most) if off else 0
        np.testing.assert_allclose(found.error[ANY], [expected, 0, 0], rtol=1e-6)
        assert not found.error[[SAME, FLOAT]].any()
        levels = round(1 / step) if holds == "numbers" else 1
        assert found.range.low.tolist() == [0 if holds == "numbers" else -1] * 3
        assert found.range.high.tolist() == [levels] * 3


def test_pools_behind_a_sign_follow_it():
    pool = PoolStage((4, 4, 2), (2, 2, 2), (2, 2), (2, 2))
    v = value([-9, -9], [9, 9])
    v = Value(**{**vars(v), "base": (4, 4, 2), "shape": (8,), "later": (pool,)})
    steps = Steps([None])
    found = steps.put_fold(v, fold(v, (F(1),) * 2, Activation(SignSTE())))
    assert steps.steps[-1] is pool
    assert (found.base, found.shape, found.at) == ((2, 2, 2), (8,), 2)


def test_sources_are_named_only_where_they_are_not_the_step_before():
    steps = Steps([None, None])
    assert steps.sources(1) == ()
    assert steps.sources(0) == (0,)
    assert steps.sources(1, 0) == (1, 0)
    assert Steps().sources(-1) == ()
