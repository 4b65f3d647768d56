"""Choosing a recipe's best epoch."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Dense,
)
from minibnn.schedules import Constant
from minibnn.training.recipe import ExponentialTo, _Best, adam, constant, cosine


def test_logits_that_are_nan_choose_no_model():
    model = Dense(2, 2).initialize(0)
    best = _Best(model)
    best.look(0.5)
    kept = model.weight.data.copy()
    model.weight.data[...] = np.nan
    best.look(float("nan"))
    best.look(0.0)
    best.restore()
    np.testing.assert_array_equal(model.weight.data, kept)


@pytest.mark.parametrize(
    ("decay", "start", "end"),
    [(constant, 0.5, 0.5), (cosine, 0.5, 0.0), (ExponentialTo(0.05), 0.5, 0.05)],
    ids=["constant", "cosine", "exponential"],
)
def test_decays_reach_their_end_with_the_last_epoch(decay, start, end):
    schedule = decay(0.5, 3, 10)
    assert schedule(0) == pytest.approx(start)
    assert schedule(30) == pytest.approx(end)


def test_a_recipe_makes_adam_on_every_parameter():
    model = Dense(2, 2).initialize(0)
    assert list(adam(model, Constant(0.1)).parameters) == list(model.parameters())
