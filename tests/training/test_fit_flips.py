"""The share of quantized weights that an epoch changed."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import strictdev
from devices import STRICT

from minibnn import (
    SGD,
    DataLoader,
    Dense,
    DivergedError,
    Function,
    Heaviside,
    Identity,
    LogitCrossEntropy,
    Sequential,
    SignSTE,
    Tanh,
    fit,
)

X = np.random.default_rng(1).standard_normal((40, 6)).astype(np.float32)
LABELS = np.arange(40) % 3


class ScaledSign(Function):
    """A sign times the mean magnitude: both values move with every step."""

    def forward(self, x):
        return SignSTE().forward(x) * abs(x).mean()

    def backward(self, dy, x):
        return dy


class Rounded(Function):
    """A value of three bits."""

    def forward(self, x):
        return (4 * x.clip(-0.8, 0.7)).round() / 4

    def backward(self, dy, x):
        return dy


def net(*quantizers):
    widths = itertools.pairwise((6, *(5 for _ in quantizers[1:]), 3))
    layers = (Dense(n, m, weight_quantizer=q) for (n, m), q in zip(widths, quantizers, strict=True))
    return Sequential(*layers).initialize(0)


def train(model, rate=0.05, epochs=3, backend="cpu", on_epoch=None):
    model.to(backend)
    data = DataLoader((X, LABELS), 10)
    return fit(
        model,
        data,
        data,
        loss=LogitCrossEntropy(),
        optimizer=SGD(model.parameters(), rate),
        epochs=epochs,
        on_epoch=on_epoch,
    )


@pytest.mark.parametrize(
    "quantizer", [SignSTE(), ScaledSign(), Rounded(), Heaviside(clip=None)], ids=repr
)
def test_they_are_counted_from_the_start_of_each_epoch_to_its_end(quantizer, backend):
    model = net(quantizer, quantizer)
    seen = []

    def bits(_=None):
        host = [backend.to_host(layer.weight.data).copy() for layer in model]
        if quantizer.bits == 1:
            seen.append([w >= 0 for w in host])
        else:
            seen.append([quantizer.forward(w) for w in host])

    bits()
    history = train(model, rate=0.5, backend=backend, on_epoch=bits)
    for i, layer in enumerate(("0", "1")):
        expected = [(old[i] != new[i]).mean() for old, new in itertools.pairwise(seen)]
        np.testing.assert_array_equal(history[f"flips_{layer}.weight"], expected)
        assert 0 < history[f"flips_{layer}.weight"].sum() < 3


def test_only_quantized_weights_have_a_column():
    history = train(net(SignSTE(), None, Identity(), Tanh(), SignSTE()), epochs=1)
    assert [c for c in history.columns if c.startswith("flips")] == [
        "flips_0.weight",
        "flips_4.weight",
    ]
    assert list(train(net(None, None)).columns) == [
        "loss_train",
        "loss_test",
        "acc_train",
        "acc_test",
    ]


def test_weights_that_stand_still_do_not_flip():
    assert (train(net(SignSTE(), SignSTE()), rate=1e-9).filter(like="flips") == 0).all(axis=None)


def test_a_history_without_epochs_has_the_columns_too():
    model = net(SignSTE())
    model[0].weight.data[...] = np.nan
    with pytest.raises(DivergedError) as caught:
        train(model)
    assert isinstance(caught.value.history, pd.DataFrame)
    assert caught.value.history.columns[-1] == "flips_0.weight"


def test_they_come_with_the_one_read_back_of_the_epoch():
    counts = []
    train(
        net(SignSTE(), SignSTE()),
        epochs=4,
        backend=STRICT,
        on_epoch=lambda _: counts.append(strictdev.readbacks()),
    )
    assert np.diff(counts).tolist() == [1, 1, 1]
