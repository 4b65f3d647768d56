"""Values that are not finite: no update uses them, and the error names them."""

from __future__ import annotations

import copy
import itertools
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import strictdev
from devices import STRICT

from minibnn import (
    SGD,
    Activation,
    Adam,
    AdaMax,
    BatchNorm,
    Bop,
    Conv2D,
    DataLoader,
    Dense,
    DivergedError,
    Flatten,
    Function,
    Layer,
    LogitCrossEntropy,
    OptimizerGroup,
    Reshape,
    Sequential,
    ShiftAdaMax,
    SignSTE,
    fit,
    split_parameters,
)
from minibnn.training import CapturedSteps, PlainSteps

LOSS = LogitCrossEntropy()
BATCH, BAD, FEATURE = 20, 50, 3  # sample 50 stands in batch 3


class Overflowing(Layer):
    """Overflows float32 for large inputs, as an exponential does."""

    def forward(self, x, *, train=False):
        y = x + (x > 50) * np.float32(3e38) * x
        self.saved = (y.shape,) if train else None
        return y

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


class Hiding(Function):
    """A sign that turns nan into -1."""

    bits = 1

    def forward(self, x):
        return (x >= 0) * x.dtype.type(2) - x.dtype.type(1)

    def surrogate(self, x):
        return x

    def backward(self, dy, x):
        return dy


def dense(n, m, **options):
    return Dense(n, m, weight_quantizer=SignSTE(), **options)


MODELS = {
    "a sign": (lambda: [dense(8, 16), Activation(SignSTE()), dense(16, 3)], np.inf),
    "a clipped sign": (
        lambda: [dense(8, 16), Activation(SignSTE(clip=1.0)), dense(16, 3), BatchNorm(3)],
        -np.inf,
    ),
    "nan hidden": (lambda: [dense(8, 16), Activation(Hiding()), dense(16, 3)], np.nan),
    "images": (
        lambda: [
            Reshape((2, 4, 1)),
            Conv2D(1, 4, 2, weight_quantizer=SignSTE()),
            Activation(SignSTE()),
            Flatten(),
            dense(12, 3),
        ],
        np.inf,
    ),
    "from the middle": (
        lambda: [Overflowing(), dense(8, 16), Activation(SignSTE()), dense(16, 3)],
        100.0,
    ),
}
OPTIMIZERS = {
    "Adam": lambda model: Adam(model.parameters(), 1e-2),
    "SGD": lambda model: SGD(model.parameters(), 1e-2, momentum=0.9),
    "AdaMax": lambda model: AdaMax(model.parameters()),
    "ShiftAdaMax": lambda model: ShiftAdaMax(model.parameters()),
    "Bop and Adam": lambda model: OptimizerGroup(
        Bop(split_parameters(model)[0]), Adam(split_parameters(model)[1], 1e-2)
    ),
}


def arrays(value, samples=120):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((samples, 8)).astype(np.float32)
    labels = np.argmax(x[:, :3], axis=1)
    x[BAD, FEATURE] = value
    return x, labels


def made(name, optimizer, backend):
    layers, value = MODELS[name]
    model = Sequential(*layers()).initialize(0).to(backend)
    return model, OPTIMIZERS[optimizer](model), DataLoader(arrays(value), BATCH).to(backend)


def values(model):
    return [model.backend.to_host(p.data).copy() for p in model.parameters()]


def after_two_batches(name, optimizer, backend):
    """The same training, stopped before the bad batch."""
    model, optimizer, data = made(name, optimizer, backend)
    loss = LogitCrossEntropy()
    for x, labels in itertools.islice(data, 2):
        loss.forward(model.forward(x, train=True), labels)
        model.backward(loss.backward(), need_dx=False)
        optimizer.step()
    return values(model)


def same(one, other):
    return all(map(np.array_equal, one, other))


COMBINATIONS = [*((name, "Adam") for name in MODELS), *(("a sign", o) for o in OPTIMIZERS)]


@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize(("name", "kind"), COMBINATIONS)
def test_fit_stops_before_the_update(name, kind, capture, backend):
    if capture and backend.host:
        pytest.skip("the CPU captures nothing")
    model, optimizer, data = made(name, kind, backend)
    test = DataLoader(arrays(0.0), BATCH)
    with pytest.raises(DivergedError) as caught:
        fit(
            model, data, test, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=2,
            capture=capture,
        )  # fmt: skip
    assert (caught.value.epoch, caught.value.batch) == (1, 3)
    assert "in epoch 1, batch 3, and training stopped before that update" in str(caught.value)
    assert same(values(model), after_two_batches(name, kind, backend))
    assert all(np.isfinite(b.data).all() for b in model.to("cpu").buffers())
    assert "loss" not in str(caught.value).partition(" became ")[0], "the loss is finite"
    if name != "from the middle":
        assert f"sample {BAD} has {MODELS[name][1]} at [{FEATURE}]" in str(caught.value)
    else:
        assert "layer 0, Overflowing(), made inf of finite inputs" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_loop_of_ones_own_is_stopped_on_the_cpu(kind):
    model, optimizer, data = made("a sign", kind, "cpu")
    message = r"the gradient of Parameter\('weight', \(8, 16\).* nan"
    with np.errstate(all="ignore"):
        for i, (x, labels) in enumerate(itertools.islice(data, 3)):
            LOSS.forward(model.forward(x, train=True), labels)
            model.backward(LOSS.backward(), need_dx=False)
            with pytest.raises(DivergedError, match=message) if i == 2 else nullcontext() as caught:
                optimizer.step()
    assert (caught.value.epoch, caught.value.batch) == (None, None)
    assert same(values(model), after_two_batches("a sign", kind, model.backend))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_loop_of_ones_own_leaves_the_batch_out_on_a_device(kind, flag):
    """Nothing waits for the device: it refuses the update itself, and the flag also stops later ones."""
    model, optimizer, data = made("a sign", kind, STRICT)
    loss, all_finite = LogitCrossEntropy(), STRICT.xp.ones((), bool)
    for i, (x, labels) in enumerate(itertools.islice(data, 3)):
        with strictdev.no_sync():
            loss.forward(model.forward(x, train=True), labels)
            model.backward(loss.backward(), need_dx=False)
            with STRICT.update(allowed=all_finite if flag else None):
                optimizer.step()
        assert not flag or bool(STRICT.to_host(all_finite)) == (i < 2)
    assert same(values(model), after_two_batches("a sign", kind, STRICT))


@pytest.mark.parametrize("steps", [PlainSteps, CapturedSteps])
def test_the_losses_of_an_epoch_show_where_it_was(steps, backend):
    if steps is CapturedSteps and backend.host:
        pytest.skip("the CPU captures nothing")
    model, optimizer, data = made("a sign", "Adam", backend)
    with np.errstate(all="ignore"):
        losses = backend.to_host(steps(model, LogitCrossEntropy(), optimizer).epoch(data))
    assert np.isfinite(losses[:2]).all()
    assert np.isnan(losses[2])
    assert np.isfinite(losses[3:]).all()
    assert len(losses) == (3 if backend.host else 6)
    assert same(values(model), after_two_batches("a sign", "Adam", backend))


def test_a_shuffled_loader_and_a_later_epoch_name_the_sample():
    layers, value = MODELS["a sign"]
    model = Sequential(*layers()).initialize(0)
    x, labels = arrays(0.0)
    data = DataLoader((x, labels), BATCH, shuffle=True, rng=1)
    optimizer = Adam(model.parameters(), 1e-2)
    options = {"loss": LogitCrossEntropy(), "optimizer": optimizer, "epochs": 1}
    fit(model, data, data, **options)
    data.arrays[0][BAD, FEATURE] = value
    batch = int(np.flatnonzero(data.order(1) == BAD)[0]) // BATCH + 1
    with pytest.raises(DivergedError, match=rf"sample {BAD} has inf at \[{FEATURE}\]") as caught:
        fit(model, data, data, **options)
    assert caught.value.batch == batch


def test_what_is_finite_is_not_refused_however_large():
    """The first check sums the squares of gradients, which overflow here."""
    layer = Dense(2, 2, bias=False).initialize(0)
    optimizer = SGD(layer.parameters(), 1e-30)
    before = layer.weight.data.copy()
    layer.weight.grad[...] = 1e30
    optimizer.step()  # without a warning, which is an error here
    np.testing.assert_allclose(layer.weight.data, before - 1, rtol=1e-6)


def test_test_data_that_is_not_finite_is_named_too(backend):
    layers = [Dense(8, 3)]
    model = Sequential(*layers).initialize(0).to(backend)
    train, test = DataLoader(arrays(0.0), BATCH), DataLoader(arrays(np.nan), BATCH)
    with pytest.raises(DivergedError, match="in the evaluation after epoch 1") as caught:
        fit(model, train, test, loss=LogitCrossEntropy(), optimizer=SGD(model.parameters(), 0.1),
            epochs=1)  # fmt: skip
    assert f"test: sample {BAD} has nan at [{FEATURE}]" in str(caught.value)


@pytest.mark.parametrize(("kind", "rate"), [(SGD, 3e38), (AdaMax, 3e37)])
def test_an_update_that_overflows_is_refused(kind, rate, backend):
    """The sign would hide infinite weights, which one step later would be nan."""
    layers = dense(8, 16, bias=False), Activation(SignSTE()), dense(16, 3, bias=False)
    model = Sequential(*layers).initialize(0).to(backend)
    data = DataLoader(arrays(0.0), BATCH)
    with pytest.raises(DivergedError, match="a value after the update became") as caught:
        fit(model, data, data, loss=LogitCrossEntropy(), optimizer=kind(model.parameters(), rate),
            epochs=9)  # fmt: skip
    assert all(np.isfinite(v).all() for v in values(model))
    assert caught.value.batch is not None
    assert "training stopped in that update; use a smaller learning rate" in str(caught.value)


def test_parameters_that_are_not_finite_after_an_epoch_are_no_success(backend):
    """This holds also if something other than the optimiser changed a weight: signs hide infinity."""
    model = Sequential(dense(8, 16), Activation(SignSTE()), dense(16, 3)).initialize(0).to(backend)

    class Careless(SGD):
        def step(self):
            super().step()
            if self.steps == 6:
                self.store.data[0] = np.inf

    data = DataLoader(arrays(0.0), BATCH)
    optimizer = Careless(model.parameters(), 0.01)
    with pytest.raises(DivergedError, match=r"0\.weight.* became inf in epoch 1") as caught:
        fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1,
            capture=False)  # fmt: skip
    assert caught.value.batch is None
    assert "before that update" not in str(caught.value)


def test_copies_are_what_is_looked_at():
    """The search for the cause runs a copy; the model's statistics and saved state do not change."""
    model, optimizer, data = made("a clipped sign", "Adam", "cpu")
    with pytest.raises(DivergedError):
        fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
    assert all(layer.saved is None for layer in model)
    assert copy.deepcopy(model).layers[0].weight.data.shape == (8, 16)


@pytest.mark.parametrize("kind", [SGD, Adam, AdaMax])
@pytest.mark.parametrize("rate", [1e39, lambda step: 1e39])
def test_a_rate_that_float32_cannot_hold_is_refused(kind, rate, backend):
    """The rate would be infinite in float32, and infinity times a gradient of zero is nan."""
    layer = Dense(2, 2).initialize(0).to(backend)
    before = values(layer)
    optimizer = kind(layer.parameters(), rate)
    with pytest.raises(DivergedError, match="the step size in float32 became inf"):
        optimizer.step()
    assert same(values(layer), before)
    kind(Dense(2, 2).initialize(0, np.float64).parameters(), rate).step()
