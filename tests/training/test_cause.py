"""Where nan or inf began: in a sample, in a layer, on the way back, or in a parameter."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    DataLoader,
    Dense,
    Huber,
    Layer,
    LogitCrossEntropy,
    MeanSquaredError,
    Sequential,
)
from minibnn.optimizers.diverged import HINT, OVERFLOW
from minibnn.training import cause

NAN = float("nan")


class Spoiling(Layer):
    """Multiplies what goes forward, and what comes back."""

    def __init__(self, forth=1.0, back=1.0):
        self.forth, self.back = forth, back

    def forward(self, x, *, train=False):
        self.saved = (x.shape,) if train else None
        return x * np.float32(self.forth)

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy * np.float32(self.back)


class Unique(Spoiling):
    def __deepcopy__(self, memo):
        raise TypeError("there is one of me")


def loader(backend, value=0.0):
    """Six samples in batches of two, in order; the fifth has a value of its own."""
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    x[4, 1] = value
    data = DataLoader((x, np.arange(6) % 3), 2).to(backend)
    data.epoch = 1  # one epoch was made
    return data


def model(backend, *layers):
    return Sequential(Dense(4, 4), *layers, Dense(4, 3)).initialize(0).to(backend)


def in_batch(model, data, batch=2, loss=None):
    return cause.in_batch(model, loss or LogitCrossEntropy(), data, batch, NAN)


def test_a_sample(backend):
    what, value, why = in_batch(model(backend), loader(backend, np.inf))
    assert what == "the loss"
    assert np.isnan(value)
    assert why == "train: sample 4 has inf at [1]; leave it out, or clean the data"


def test_a_value_that_stands_for_a_missing_one(backend):
    assert in_batch(model(backend), loader(backend, 9.96921e36))[2] == (
        "train: sample 4 has 9.96921e+36 at [1], too large to compute with; leave it out, "
        "or scale the data"
    )


@pytest.mark.parametrize("loss", [MeanSquaredError(), Huber()], ids=repr)
def test_targets_that_no_loss_can_hold(backend, loss):
    def why(size):
        t = np.full((6, 3), -size)
        data = DataLoader((loader(backend).arrays[0], backend.asarray(t)), 2)
        data.epoch = 1
        return in_batch(model(backend), data, loss=loss)[2]

    assert why(2e40) == (
        "targets are as large as 2e+40, too large for the loss; divide them by such a number"
    )
    assert why(1e3) == "use a smaller learning rate"


def test_a_layer(backend):
    what, _, why = in_batch(model(backend, Spoiling(forth=np.inf)), loader(backend))
    assert what == "the loss"
    assert why.startswith("layer 1, Spoiling(), made ")
    assert why.endswith(f" of finite inputs; {HINT}")


def test_the_way_back(backend):
    what, _, why = in_batch(model(backend, Spoiling(back=np.inf)), loader(backend))
    assert what == "the gradient of 0.weight"
    assert why.startswith("layer 1, Spoiling(), sent ")


def test_a_parameter_that_was_spoiled_before(backend):
    net = model(backend)
    net[1].weight.data[0, 0] = np.nan
    found = cause.in_parameters(net)
    assert found[0] == "the parameter 1.weight"
    assert "initialize the model anew" in found[2]
    why = in_batch(net, loader(backend))[2]
    assert why.startswith("the parameter 1.weight was nan before this batch already; an update")


def test_nothing_but_the_update(backend):
    net = model(backend)
    assert cause.in_parameters(net) is None
    assert in_batch(net, loader(backend)) == (OVERFLOW, pytest.approx(NAN, nan_ok=True),
                                              "use a smaller learning rate")  # fmt: skip


def test_data(backend):
    good, bad = loader(backend), loader(backend, np.nan)
    assert cause.in_data(train=good, test=good) == HINT
    assert cause.in_data(train=good, test=bad).startswith("test: sample 4 has nan at [1]")


def test_a_model_that_cannot_be_copied_hides_no_news(backend):
    net = model(backend, Unique())
    assert in_batch(net, loader(backend))[0] == "the loss, a gradient or an update"
    assert "sample 4 has inf" in in_batch(net, loader(backend, np.inf))[2]


def test_batches_that_a_loader_makes_itself_are_not_made_again(backend):
    class Own(DataLoader):
        def batches(self, epoch):
            return super().batches(epoch)

    data = Own((np.full((2, 4), np.inf, np.float32), np.arange(2)), 2).to(backend)
    assert in_batch(model(backend), data, 0)[::2] == ("the loss, a gradient or an update", HINT)
