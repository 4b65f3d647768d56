"""`model(x)` is the forward in evaluation mode, `model.predict(x)` the same in batches."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import BatchNorm, Dense, Dropout, LogitCrossEntropy, Sequential
from minibnn.layers.prediction import LayerPrediction


@pytest.fixture
def model():
    return Sequential(Dense(4, 5), BatchNorm(5), Dropout(0.5), Dense(5, 3)).initialize(0)


def test_a_call_is_forward_in_evaluation_mode(model, rng):
    x = rng.standard_normal((6, 4)).astype(np.float32)
    assert isinstance(model, LayerPrediction)
    np.testing.assert_array_equal(model(x), model.forward(x))
    model.forward(x, train=True)
    model(x)
    assert model.layers[0].saved is not None, "a call in between forgets nothing"
    assert np.abs(model.forward(x, train=True) - model(x)).max() > 0.1
    with pytest.raises(TypeError, match="train"):
        model(x, train=True)


def test_an_error_is_the_one_of_forward(model):
    with pytest.raises(ValueError, match=r"expected x of shape \(batch, 4\), got \(6, 5\)"):
        model(np.zeros((6, 5), np.float32))
    with pytest.raises(RuntimeError, match=r"call model\.initialize"):
        Dense(2, 2)(np.zeros((1, 2), np.float32))


def test_predict(model, rng):
    x = rng.standard_normal((6, 4)).astype(np.float32)
    np.testing.assert_allclose(model.predict(x, batch_size=4), model(x), rtol=1e-6)
    said = model.predict(x, loss=LogitCrossEntropy())
    np.testing.assert_array_equal(said, model(x).argmax(axis=1))
