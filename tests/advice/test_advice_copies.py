"""Hints about copies, about array subclasses, and about what a layer saves."""

from __future__ import annotations

import copy
import pickle

import numpy as np
from advice import advised

from minibnn import Adam, DataLoader, Dense, Layer, LogitCrossEntropy

X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
LABELS = np.arange(20) % 2


def loss_after_ten_steps(model, optimizer):
    loss = LogitCrossEntropy()
    for _ in range(10):
        value = loss.forward(model.forward(X, train=True), LABELS)
        model.backward(loss.backward(), need_dx=False)
        optimizer.step()
    return value


def test_a_model_and_its_optimiser_stay_together():
    model = Dense(3, 2).initialize(0)
    optimizer = Adam(model.parameters(), 0.1)
    with advised(
        "parameter",
        "write model.backward(loss.backward()) before each step; for a copy of the model, copy, "
        "pickle or load both as one object, (model, optimizer), or make a new optimiser of "
        "that model's parameters",
    ):
        loss_after_ten_steps(copy.deepcopy(model), pickle.loads(pickle.dumps(optimizer)))
    together = pickle.loads(pickle.dumps((model, optimizer)))
    anew = copy.deepcopy(model)
    expected = loss_after_ten_steps(model, optimizer)
    assert loss_after_ten_steps(*together) == expected
    assert loss_after_ten_steps(anew, Adam(anew.parameters(), 0.1)) == expected


def test_masked_places_are_filled():
    masked = np.ma.masked_invalid(np.where(X > 2, np.nan, X))
    with advised("backend", "replace the masked values: a.filled(value)"):
        DataLoader((masked, LABELS), 10)
    for x, _ in DataLoader((masked.filled(0.0), LABELS), 10):
        assert np.isfinite(x).all()


def test_other_classes_are_converted():
    table = X.view(np.matrix)
    with advised("backend", "convert it with numpy.asarray"):
        DataLoader((table, LABELS), 10)
    assert len(DataLoader((np.asarray(table), LABELS), 10)) == 2


class Double(Layer):
    """y = 2 x; what it saves is an argument."""

    def __init__(self, saved):
        self.what = saved

    def forward(self, x, *, train=False):
        y = 2 * x
        self.saved = self.what(x, y)
        return y

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        assert x.shape == dy.shape
        return 2 * dy


def test_a_layer_saves_its_outputs_shape_first():
    layer = Double(lambda x, y: x)
    layer.forward(X, train=True)
    with advised("layers", "write self.saved = (y.shape, x)"):
        layer.backward(X)
    layer = Double(lambda x, y: (y.shape, x))
    layer.forward(X, train=True)
    assert (layer.backward(X) == 2 * X).all()
