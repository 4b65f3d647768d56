"""Choosing a recipe's best epoch."""

from __future__ import annotations

import numpy as np

from minibnn import (
    Dense,
)
from minibnn.training.recipe import _Best


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
