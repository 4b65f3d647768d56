"""Schedules against numbers worked out by hand: at each end, between, and beyond."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minibnn import (
    SGD,
    Constant,
    Cosine,
    Dense,
    Exponential,
    Fill,
    PerEpoch,
)

exactly = {"rel": 1e-14, "abs": 1e-15}


def test_constant():
    assert [Constant(0.3)(t) for t in (0, 1, 10**9)] == [0.3] * 3


def test_cosine_is_half_a_cosine_from_start_to_end():
    """Cosines of 0, 60, 90, 120 and 180 degrees are 1, 1/2, 0, -1/2 and -1."""
    rate = Cosine(10.0, 2.0, length=6)
    expected = {0: 10, 2: 2 + 8 * 0.75, 3: 2 + 8 * 0.5, 4: 2 + 8 * 0.25, 6: 2, 7: 2, 600: 2}
    for t, value in expected.items():
        assert rate(t) == pytest.approx(value, **exactly), t
    # 30 degrees: (1 + sqrt(3) / 2) / 2
    assert rate(1) == pytest.approx(2 + 8 * (1 + math.sqrt(3) / 2) / 2, **exactly)
    assert rate(5) == pytest.approx(2 + 8 * (1 - math.sqrt(3) / 2) / 2, **exactly)


def test_cosine_may_rise_and_may_end_at_zero():
    assert [Cosine(1.0, 3.0, length=2)(t) for t in range(4)] == pytest.approx([1, 2, 3, 3])
    down = Cosine(4.0, 0.0, length=3)
    assert [down(t) for t in range(5)] == pytest.approx([4, 3, 1, 0, 0], **exactly)
    assert all(down(t) >= 0 for t in range(5))


def test_exponential_is_a_constant_factor():
    """From 8 to 1 in three steps is a half each."""
    rate = Exponential(8.0, 1.0, length=3)
    assert [rate(t) for t in range(6)] == pytest.approx([8, 4, 2, 1, 1, 1], **exactly)
    assert Exponential(1.0, 4.0, length=4)(1) == pytest.approx(math.sqrt(2), **exactly)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Exponential(8.0, 1.0, length=3), [8, 8, 4, 4, 2, 2, 1, 1, 1, 1]),
        (Cosine(4.0, 0.0, length=3), [4, 4, 3, 3, 1, 1, 0, 0, 0, 0]),
        (Constant(5.0), [5] * 10),
        (lambda epoch: 10 + epoch, [10, 10, 11, 11, 12, 12, 13, 13, 14, 14]),
    ],
)
def test_per_epoch_holds_the_rate_for_a_whole_epoch(schedule, expected):
    rate = PerEpoch(schedule, steps_per_epoch=2)
    assert [rate(t) for t in range(10)] == pytest.approx(expected, **exactly)


def test_per_epoch_asks_for_whole_epochs():
    """The inner schedule sees 0, 1, 2, ... as int: one may index a list with them."""
    rate = PerEpoch([0.5, 0.25, 0.125].__getitem__, steps_per_epoch=3)
    assert [rate(t) for t in range(9)] == [0.5] * 3 + [0.25] * 3 + [0.125] * 3
    assert [PerEpoch(Exponential(8.0, 1.0, 3), 1)(t) for t in range(4)] == pytest.approx(
        [8, 4, 2, 1], **exactly
    )


def test_the_first_update_is_at_zero_and_each_is_one_further():
    """SGD with a gradient of 1 takes off exactly what the schedule says: 3, then 1 + 1, then 1/2."""
    layer = Dense(1, 1, bias=False, weight_init=Fill(100.0)).initialize(0, np.float64)
    w = layer.weight
    w.grad[...] = 1.0
    optimizer = SGD([w], PerEpoch(lambda epoch: [3.0, 1.0, 0.5][epoch], steps_per_epoch=2))
    path = []
    for _ in range(6):
        optimizer.step()
        path.append(float(w.data[0, 0]))
    assert path == [97.0, 94.0, 93.0, 92.0, 91.5, 91.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(0.0), "Constant: expected a positive value"),
        (lambda: Cosine(0.0, 0.0, 3), "Cosine: expected a positive start"),
        (lambda: Cosine(1.0, 0.0, 0), "Cosine: expected a positive length"),
        (lambda: Cosine(1.0, -1e-9, 3), "Cosine: expected end of at least 0"),
        (lambda: Cosine(1.0, math.nan, 3), "Cosine: expected end of at least 0"),
        (lambda: Cosine(1.0, math.inf, 3), "Cosine: expected end of at least 0"),
        (lambda: Exponential(1.0, 0.0, 3), "Exponential: expected a positive end"),
        (lambda: PerEpoch(Constant(1.0), 0), "PerEpoch: expected a positive steps_per_epoch"),
    ],
)
def test_what_is_no_schedule_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
