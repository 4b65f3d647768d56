"""What optimisers with a flat store have in common: schedules, counts, scalars."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_cases import parameter, trajectory

from minibnn import (
    SGD,
    Adam,
    AdaMax,
    Dense,
    DivergedError,
    Exponential,
    Sequential,
    ShiftAdaMax,
    SignSTE,
)
from minibnn.optimizers import Descent


def test_schedule_is_asked_before_each_update():
    p = parameter([0.0])
    asked = []

    def schedule(t):
        asked.append(t)
        return 10.0**-t

    path = trajectory(SGD([p], schedule), p, [-1, -1, -1])
    np.testing.assert_allclose(path, [[1.0], [1.1], [1.11]])
    assert asked == [0, 1, 2]


def binary(n, m):
    return Dense(n, m, weight_quantizer=SignSTE(), weight_bound=1.0)


def test_a_refused_step_does_not_count_on_the_host():
    p = parameter([0.0])
    optimizer = Adam([p], 0.1)
    p.grad[...] = np.nan
    for _ in range(50):
        with pytest.raises(DivergedError):
            optimizer.step()
    assert optimizer.steps == 0
    p.grad[...] = -1.0
    optimizer.step()
    np.testing.assert_allclose(p.data, [0.1], rtol=1e-6)


class Slowing(Descent):
    """A user's optimiser; it overrides public methods only."""

    def scalars(self, learning_rate, step):
        return learning_rate / (step + 1), float(step)

    def update(self, segment, scalars):
        rate, step = scalars
        w, g = self.store.data[segment.where], self.store.grad[segment.where]
        new_w = w - rate * g - step
        if segment.bound is not None:
            new_w = self.backend.xp.clip(new_w, -segment.bound, segment.bound)
        self.backend.masked_write((w, new_w))


def test_an_optimiser_of_a_users_own(backend):
    free, slow = parameter([0.0]), parameter([0.0], lr_scale=0.5, bound=1.0)
    for p in (free, slow):
        p.to(backend, np.float64)
    optimizer = Slowing([free, slow], learning_rate=0.5)
    assert optimizer.scalars_at(0) == [(0.5, 0.0), (0.25, 0.0)]
    assert optimizer.scalars_at(4) == [(0.1, 4.0), (0.05, 4.0)]
    path = []
    for _ in range(2):
        for p in (free, slow):
            p.grad[...] = -1.0
        optimizer.step()
        path.append([float(backend.to_host(p.data)[0]) for p in (free, slow)])
    assert path == [[0.5, 0.25], [-0.25, -0.625]]
    assert optimizer.steps == 2


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1), Adam, AdaMax, ShiftAdaMax])
def test_an_update_by_scalars_from_elsewhere(make, device):
    """As in a captured step: 0-d arrays on the device instead of numbers."""

    def build():
        layers = Sequential(Dense(3, 2, bias=False), binary(2, 2)).initialize(0).to(device)
        for p in layers.parameters():
            p.grad[...] = -0.25
        return layers, make(layers.parameters())

    (one, by_step), (other, by_scalars) = build(), build()
    numbers = by_scalars.scalars_at(0)
    by_step.step()
    assert len(numbers) == len(by_scalars.store.segments) == 2
    by_scalars.update_all(
        [
            tuple(device.asarray(np.array(n, np.float32)) for n in of_segment)
            for of_segment in numbers
        ]
    )
    assert (by_step.steps, by_scalars.steps) == (1, 0)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(device.to_host(p.data), device.to_host(q.data))


def test_the_rate_can_be_set():
    p = parameter([0.0])
    optimizer = SGD([p], 0.1)
    optimizer.learning_rate = 0.5
    assert trajectory(optimizer, p, [-1.0]) == [[0.5]]
    optimizer.learning_rate = Exponential(1.0, 0.01, length=2)
    assert optimizer.learning_rate == pytest.approx(0.1)
    with pytest.raises(ValueError, match="SGD: expected a positive learning rate, got -1"):
        optimizer.learning_rate = -1
    assert repr(optimizer) == "SGD(1 parameters, 1 values, next rate 0.1, after 1 steps)"
