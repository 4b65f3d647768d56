"""A recipe's schedules, its best epoch, and its attribute of the old name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from few_images import few_images

from minibnn import Dense, Sequential
from minibnn.recipes import RECIPES, finn
from minibnn.schedules import Constant
from minibnn.training.recipe import ExponentialTo, Recipe, _Best, adam, constant, cosine


def history(accuracy):
    return pd.DataFrame({"acc_test": [accuracy]})


def test_logits_that_are_nan_choose_no_model():
    model = Dense(2, 2).initialize(0)
    best = _Best(model, None)
    best(history(0.5))
    kept = model.weight.data.copy()
    model.weight.data[...] = np.nan
    best(history(np.nan))
    best(history(0.0))
    best.put_back()
    np.testing.assert_array_equal(model.weight.data, kept)


def test_the_best_model_so_far_is_restored():
    model, other = (Dense(2, 2).initialize(seed) for seed in (0, 1))
    best, another = _Best(model, None), _Best(other, None)
    another.restore(best.state())  # before the first epoch
    best(pd.DataFrame({"acc_test": [0.5]}))
    another.restore(best.state())
    another(pd.DataFrame({"acc_test": [0.5, 0.25]}))
    another.put_back()
    np.testing.assert_array_equal(other.weight.data, model.weight.data)
    another(pd.DataFrame({"acc_test": [0.75]}))
    assert another.accuracy == 0.75


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


def test_callbacks_are_called_and_may_stop():
    class Stop:
        def on_epoch(self, history):
            return len(history) == 2

    data = few_images(128)
    _, history = RECIPES["seed"]().train(data, epochs=4, callbacks=[Stop()], progress=False)
    assert len(history) == 2
    assert history.attrs["stopped"]


def test_lr_is_the_old_name_of_learning_rate():
    settings = {"epochs": 1, "batch_size": 10}
    recipe = Recipe("own", Sequential, learning_rate=0.25, **settings)
    message = r"{}lr.* is now {}learning_rate.*, and the old name goes in minibnn 0.3"
    with pytest.warns(DeprecationWarning, match=message.format(r"Recipe\.", r"Recipe\.")):
        assert recipe.lr == 0.25
    with pytest.warns(DeprecationWarning, match=message.format(r"Recipe\(", r"Recipe\(")):
        assert Recipe("own", Sequential, lr=0.5, **settings).learning_rate == 0.5
    with pytest.warns(DeprecationWarning, match=message.format(r"Recipe\(", r"Recipe\(")):
        assert replace(recipe, lr=0.5).learning_rate == 0.5
    with pytest.warns(DeprecationWarning, match=message.format(r"finn\(", r"finn\(")):
        assert finn("own", 8, input_bits=1, epochs=1, lr=0.5).learning_rate == 0.5
    with pytest.warns(DeprecationWarning, match=message.format(r"train\(", r"Recipe.train\(")):
        RECIPES["seed"]().train(few_images(100), epochs=1, lr=0.5, progress=False)
