"""Each check fires on the fault planted for it, and is silent on a sound model."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from diagnosed_models import (
    LABELS,
    Noise,
    X,
    build,
    dark_pixels,
    dense,
    diagnosed,
    loader,
    relu_before_sign,
    shifted_away,
    sound,
)

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    Blocked,
    DataLoader,
    Dense,
    Function,
    Hinge,
    Layer,
    LogitCrossEntropy,
    ReLU,
    Rescale,
    SignSTE,
    SquaredHinge,
    Uniform,
    diagnose,
    fit,
    load_sample,
)
from minibnn.recipes import RECIPES


def kinds(report, *severities):
    return [(f.kind, f.where) for f in report.findings if f.severity in severities]


def test_a_sound_model_fresh_and_trained(backend):
    model = build(sound(), backend)
    data = loader().to(backend)
    assert diagnose(model, data).findings == ()
    fit(model, data, data, loss=LogitCrossEntropy(), optimizer=Adam(model.parameters(), 1e-2), epochs=2)  # fmt: skip
    report = diagnose(model, data)
    assert report.findings == (), str(report)
    assert report
    assert report.ok
    assert str(report) == "diagnosis of Sequential(8 layers) on 300 samples: healthy"


@pytest.mark.parametrize("recipe", ["seed", "modern"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_examples_are_sound_fresh_and_after_an_epoch(recipe, seed):
    """The seed recipe leaves dark pixels at zero, which deserves a note and no more."""
    digits = load_sample()
    data = DataLoader(
        (digits.train_images, digits.train_labels), 100, shuffle=True, drop_last=True, rng=seed
    )
    settings = RECIPES[recipe]()
    model = settings.build().initialize(seed)
    noted = [("zero-input", "2.weight")] if recipe == "seed" else []
    report = diagnose(model, data)
    assert kinds(report, "error", "warning", "note") == noted, str(report)
    optimizer = Adam(model.parameters(), settings.learning_rate)
    fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
    report = diagnose(model, data)
    assert report.ok, str(report)
    assert kinds(report, "note") == noted, str(report)


def blocked():
    layers = sound()
    layers[3] = dense(21, 15, feedback=Blocked())
    return build(layers), None


def beyond_the_clip():
    layers = sound()
    layers[3] = Dense(
        21, 15, bias=False, weight_quantizer=SignSTE(clip=1.0), weight_init=Uniform(-2, 2)
    )
    return build(layers), None


def no_batch_norm():
    layers = sound()
    layers[0:2] = [Rescale(5.0), dense(12, 21)]
    return build(layers), None


def thrown_about():
    model = build(sound())
    model[3].weight.data[...] = SignSTE().forward(model[3].weight.data)
    return model, None


def off_centre():
    layers = sound()
    layers[0:3] = [dense(12, 21), Rescale(1.0, 50.0), Activation(SignSTE())]
    return build(layers), None


def small(c, value):
    def plant():
        model = build(sound())
        model[4].gamma.data[c] = value
        return model, None

    return plant


def small_beside_its_shift():
    model = build(sound())
    model[4].gamma.data[2], model[4].beta.data[2] = 0.05, -6.0
    return model, None


def norm_after_sign():
    layers = sound()
    layers[1], layers[2] = layers[2], layers[1]
    return build(layers), None


def real_activations():
    layers = [dense(12, 21), BatchNorm(21), Activation(ReLU()), dense(21, 3), BatchNorm(3)]
    return build(layers), None


def nan_in_the_data():
    x = X.copy()
    x[7, 3] = np.nan
    return build(sound()), loader(x)


def nan_in_a_weight():
    model = build(sound())
    model[3].weight.data[1, 2] = np.inf
    return model, None


class Root(Layer):
    """Its forward gives nan for negative inputs."""

    def forward(self, x, *, train=False):
        self.saved = (x.shape,) if train else None
        return self.backend.xp.sqrt(x)

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


class Broken(Function):
    """Its backward divides by zero."""

    def forward(self, x):
        return x + 0

    def backward(self, dy, x):
        return dy / (x * 0)


def nan_from_a_layer():
    layers = sound()
    layers.insert(2, Root())
    return build(layers), None


def nan_from_a_backward():
    layers = sound()
    layers.insert(2, Activation(Broken()))
    return build(layers), None


FAULTS = [
    # What is planted, and each finding with its figure: the fault's, then its consequences'.
    (blocked, {("starved", "0.weight"): 1.0}),
    (shifted_away, {("starved", "0.weight"): 1 / 21, ("constant", "2"): 1 / 21}),
    (beyond_the_clip, {("clipped", "3.weight"): 0.5}),
    (dark_pixels, {("zero-input", "0.weight"): 3 / 12}),
    (no_batch_norm, {("saturated", "2"): 0.96}),
    (off_centre, {("constant", "2"): 1.0, ("constant", "5"): 1.0}),
    (thrown_about, {("at-bound", "3.weight"): 1.0}),
    (
        small(2, 0.0),
        {
            ("small-scale", "4.gamma"): 1 / 15,
            ("starved", "3.weight"): 1 / 15,
            ("constant", "5"): 1 / 15,
        },
    ),
    (small(2, -0.001), {("small-scale", "4.gamma"): 1 / 15}),
    (small(slice(None), 1e-4), {("small-scale", "4.gamma"): 1.0}),
    (
        small_beside_its_shift,
        {
            ("small-scale", "4.gamma"): 1 / 15,
            ("starved", "3.weight"): 1 / 15,
            ("constant", "5"): 1 / 15,
        },
    ),
    (
        relu_before_sign,
        {("zero-at-sign", "3"): 0.5, ("constant", "3"): 1.0, ("constant", "6"): 1.0},
    ),
    (norm_after_sign, {("real-input", "3"): 1.0, ("saturated", "1"): 0.8}),
    (real_activations, {("real-input", "3"): 1.0}),
    (nan_in_the_data, {("non-finite", ""): 1 / 3600}),
    (nan_in_a_weight, {("non-finite", "3.weight"): 1 / 315}),
    (nan_from_a_layer, {("non-finite", "2"): 0.5}),
    (nan_from_a_backward, {("non-finite", "0.weight"): 1.0}),
]

NOTED = {"dark_pixels", "real_activations"}


@pytest.mark.parametrize(("plant", "expected"), FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_planted_fault_is_found_with_its_consequences_and_nothing_else(plant, expected, backend):
    model, data = plant()
    report = diagnosed(model.to(backend), data)
    assert {(f.kind, f.where): f.figure for f in report.findings} == pytest.approx(
        expected, rel=0.1
    ), str(report)
    assert bool(report) == report.ok == (plant.__name__ in NOTED)
    errors = {f.kind for f in report.findings if f.severity == "error"}
    assert errors <= {"non-finite"}


def test_a_model_that_leaves_its_loss_nothing_to_ask_is_not_starved(backend):
    """Beyond a hinge's margin, and where a softmax underflows, gradients are exactly zero."""
    model = build([*sound(), Rescale(1e6)], backend)
    y = copy.deepcopy(model).forward(backend.asarray(X), train=True)
    labels = backend.to_host(y).argmax(axis=1)
    assert float(LogitCrossEntropy().forward(y, backend.asarray(labels))) == 0
    for wrong in (0, 1):  # samples that still have a loss
        labels[:wrong] = (labels[:wrong] + 1) % 3
        for loss in (LogitCrossEntropy(), Hinge(), SquaredHinge()):
            report = diagnose(model, loader(labels=labels).to(backend), loss)
            assert report.findings == (), str(report)


def test_a_loss_without_a_gradient_is_found(backend):
    class Flat(LogitCrossEntropy):
        def backward(self):
            return super().backward() * 0

    report = diagnose(build(sound(), backend), loader().to(backend), Flat())
    assert [f.figure for f in report.findings if f.kind == "starved"] == [1, 1, 1]


def test_the_model_and_the_loader_are_left_alone(backend):
    model = build([*sound()[:3], Noise(), *sound()[3:]], backend)
    data = loader().to(backend)
    x, labels = next(iter(data))
    loss = LogitCrossEntropy()
    loss.forward(model.forward(x, train=True), labels)
    held = [*(p.data for p in model.parameters()), *(p.grad for p in model.parameters())]
    held += [b.data for b in model.buffers()]
    before = [backend.to_host(a).copy() for a in held]
    names = [set(vars(layer)) for layer in model]
    saved = [layer.saved for layer in model]
    diagnose(model, data, loss)
    assert [set(vars(layer)) for layer in model] == names
    assert all(now.saved is then for now, then in zip(model, saved, strict=True))
    assert (data.epoch, model[3].stream.count) == (1, 1)
    for array, value in zip(held, before, strict=True):
        np.testing.assert_array_equal(backend.to_host(array), value)
    model.backward(loss.backward())  # the pass that was under way goes on


def test_it_looks_at_samples_from_the_whole_data_set():
    x = X.copy()
    x[299] = np.nan
    assert not diagnose(build(sound()), loader(x), samples=10)
    assert "on 10 samples" in str(diagnose(build(sound()), loader(), samples=10))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, d: diagnose(d, m), "expected the model, a Layer, first"),
        (lambda m, d: diagnose(m, X), "diagnose: data: expected a DataLoader, got ndarray"),
        (lambda m, d: diagnose(m, d, LogitCrossEntropy), "got the class LogitCrossEntropy"),
        (lambda m, d: diagnose(m, d, samples=1), "at least 2 samples to compare, got 1"),
        (lambda m, d: diagnose(m, loader(labels=LABELS + 1)), "expected labels in 0..2, got 3"),
    ],
)
def test_it_refuses(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(build(sound()), loader())
