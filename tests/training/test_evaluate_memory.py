"""Memory follows the user's batch size, wherever a data set goes through a model."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
import pytest

from minibnn import (
    SGD,
    Activation,
    BatchNorm,
    Conv2D,
    DataLoader,
    Dense,
    DirectFeedback,
    Flatten,
    Layer,
    LogitCrossEntropy,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    SignSTE,
    confusion_matrix,
    diagnose,
    disagreements,
    evaluate,
    fit,
    pack,
)
from minibnn.recipes import RECIPES
from minibnn.training.evaluate import EVALUATION_BYTES, samples_at_once

SIDE, CHANNELS, SAMPLES = 28, 32, 400
MIB = 2**20
LOSS = LogitCrossEntropy()


class Noting(Layer):
    """Records how many samples it sees at once."""

    def __init__(self):
        self.seen = []

    def forward(self, x, *, train=False):
        self.seen.append(len(x))
        self.saved = (x.shape,) if train else None
        return x

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


class Twice(Layer):
    """A user's container."""

    def __init__(self, inside):
        self.inside = inside

    def forward(self, x, *, train=False):
        return self.inside.forward(x, train=train)

    def backward(self, dy, *, need_dx=True):
        return self.inside.backward(dy, need_dx=need_dx)


def sign():
    return Activation(SignSTE(clip=1.0))


def conv(n, m):
    options = {"padding": 1, "padding_value": -1, "bias": False}
    return Conv2D(n, m, 3, weight_quantizer=SignSTE(), **options)


def images(*first, wrap=lambda *layers: layers):
    """About 200 KB for each sample in the widest layer, and few weights."""
    layers = [Reshape((SIDE, SIDE, 1)), Rescale(2 / 255, -1), conv(1, CHANNELS),
              BatchNorm(CHANNELS), sign(), conv(CHANNELS, CHANNELS), BatchNorm(CHANNELS), sign(),
              Flatten(), Dense(SIDE * SIDE * CHANNELS, 10, weight_quantizer=SignSTE())]  # fmt: skip
    return Sequential(*first, *wrap(*layers)).initialize(0)


def data(batch, samples=SAMPLES):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (samples, SIDE, SIDE)).astype(np.uint8)
    return DataLoader((x, rng.integers(0, 10, samples)), batch)


def peak(call):
    """The most memory that NumPy held during a call, beyond what it held before."""
    call()  # what is loaded and kept the first time
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda *layers: layers,
        lambda *layers: [Sequential(*layers[:4]), Sequential(Sequential(*layers[4:]))],
        lambda *layers: [DirectFeedback(Sequential(*layers[:5]), Sequential(*layers[5:]))],
        lambda *layers: [Twice(Sequential(*layers))],
        lambda *layers: [*layers[:5], Residual(Sequential(*layers[5:8])), *layers[8:]],
    ],
    ids=["flat", "nested", "direct feedback", "of one's own", "residual"],
)
@pytest.mark.parametrize("batch", [1, 16, 64])
def test_large_samples_go_in_small_batches(batch, wrap):
    noting = Noting()
    model, given = images(noting, wrap=wrap), data(batch, 200)
    widest = 2 * SIDE * SIDE * CHANNELS * 4  # input and output of a layer, float32
    parameters = sum(p.data.nbytes for p in model.parameters())
    most = max(batch, max(EVALUATION_BYTES, parameters) // widest)
    for call in (evaluate, lambda m, d, _: confusion_matrix(m, d)):
        noting.seen.clear()
        call(model, given, LOSS)
        assert max(noting.seen) == most < 200


def test_evaluation_takes_no_more_than_training():
    model, given = images(), data(8, 120)
    optimizer = SGD(model.parameters(), 0.01)

    def step():
        x, labels = next(given.batches(0))
        LOSS.forward(model.forward(x, train=True), labels)
        model.backward(LOSS.backward(), need_dx=False)
        optimizer.step()

    training = peak(step)
    calls = {
        "evaluate": lambda: evaluate(model, given, LOSS),
        "confusion_matrix": lambda: confusion_matrix(model, given),
        "fit": lambda: fit(
            model, given.in_order(8), given, loss=LOSS, optimizer=optimizer, epochs=1
        ),
    }
    for name, call in calls.items():
        assert peak(call) < 2 * training, f"{name}: {peak(call) / MIB:.1f}, {training / MIB:.1f}"


def test_small_samples_go_as_fast_as_ever():
    for name in ("seed", "modern"):
        model = RECIPES[name]().build().initialize(0)
        assert samples_at_once(model, data(64, 1200)) == 1000
        assert samples_at_once(model, data(1200, 1300)) == 1200
        assert samples_at_once(model, data(64, 1200), 50) == 64


def test_a_layer_that_cannot_be_copied_gets_the_users_batches():
    class Stubborn(Twice):
        def __deepcopy__(self, memo):
            raise TypeError("there is one of me")

    noting = Noting()
    model = Sequential(Stubborn(Sequential(Flatten(), noting, Rescale(1.0), Dense(784, 10))))
    assert evaluate(model.initialize(0), data(8, 100), LOSS).loss > 0
    assert max(noting.seen) == 8


def test_what_is_evaluated_does_not_depend_on_how_many_at_once(monkeypatch):
    model = images()
    expected = evaluate(model, data(200, 200), LOSS)
    got = evaluate(model, data(7, 200), LOSS)
    assert got.accuracy == expected.accuracy
    assert got.loss == pytest.approx(expected.loss, rel=1e-6)


def test_the_packed_model_is_bounded_by_bytes():
    model, given = images(), data(8)
    packed, x = pack(model, (SIDE, SIDE)), given.arrays[0][:100]
    for call in (packed.predict, packed.predict_scores, packed.logits):
        assert peak(partial(call, x)) < 24 * MIB
    assert peak(lambda: disagreements(model, packed, x[:32])) < 48 * MIB


def test_diagnose_is_bounded_by_bytes(backend):
    noting = Noting()
    model, given = images(noting).to(backend), data(8, 300).to(backend)
    report = diagnose(model, given)
    assert 8 < report.samples < 300
    assert f"on {report.samples} samples" in str(report)
    if backend.host:
        assert peak(lambda: diagnose(model, given)) < 300 * MIB
    # Never fewer than training takes, if they are asked for.
    assert diagnose(model, data(120, 300).to(backend)).samples == 120
    assert diagnose(model, data(120, 300).to(backend), samples=50).samples == 50
    small = Sequential(Flatten(), Rescale(1 / 255), Dense(784, 10)).initialize(0).to(backend)
    assert diagnose(small, data(8, 600).to(backend)).samples == 500
