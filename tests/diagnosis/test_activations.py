"""Checks of activations and inputs: where each begins to warn, and what is no fault."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from diagnosed_models import LABELS, Noise, X, build, dense, diagnosed, loader, severities, sound

from minibnn import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Conv1D,
    Conv2D,
    DataLoader,
    Dense,
    DirectFeedback,
    Dropout,
    Flatten,
    Function,
    MaxPool2D,
    PackError,
    ReLU,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    SignSTE,
    diagnose,
    pack,
)
from minibnn.diagnosis.activations import CONSTANT_SHARE


class Step(Function):
    """1 for positive values, else 0: zero goes with the negative ones."""

    bits = 1

    def forward(self, x):
        return (x > 0).astype(x.dtype)

    def backward(self, dy, x):
        return dy * (abs(x) <= 1)


def test_a_relu_before_a_step_loses_nothing(backend):
    layers = sound()
    layers[2:3] = [Activation(ReLU()), Activation(Step())]
    assert diagnosed(build(layers, backend)).findings == ()


class Halves(Function):
    """Some values of two bits."""

    bits = 2

    def forward(self, x):
        return x.clip(-1, 1).round()

    def backward(self, dy, x):
        return dy * (abs(x) <= 1)


def test_activations_of_few_bits_are_no_leak(backend):
    layers = sound()
    layers[2] = Activation(Halves())
    assert diagnosed(build(layers, backend)).findings == ()


def test_what_dropout_does_in_training_is_no_fault(backend):
    layers = sound()
    layers[3:3] = [Noise()]  # between a sign and a binary layer
    layers[2:2] = [Noise()]  # before a sign
    assert diagnosed(build(layers, backend)).findings == ()


def test_binarised_pixels_may_be_constant(backend):
    """A pixel that is dark in every image is no dead unit."""
    x = X.copy()
    x[:, :4] = -1.0
    layers = [Activation(SignSTE()), *sound()]
    assert diagnosed(build(layers, backend), loader(x)).findings == ()


def test_images_of_channels(backend):
    """Units are channels, wherever in the image."""

    class Channelwise(Dense):
        def forward(self, x, *, train=False):
            y = super().forward(x.reshape(-1, x.shape[-1]), train=train)
            return y.reshape(*x.shape[:-1], -1)

        def backward(self, dy, *, need_dx=True):
            dx = super().backward(dy.reshape(-1, dy.shape[-1]), need_dx=need_dx)
            return None if dx is None else dx.reshape(*dy.shape[:-1], -1)

    def make():
        return build(
            [
                Channelwise(3, 7, bias=False, weight_quantizer=SignSTE()),
                BatchNorm(7),
                Activation(SignSTE(clip=1.0)),
                Flatten(),
                dense(28, 3),
                BatchNorm(3),
            ],
            backend,
        )

    images = loader(X.reshape(300, 2, 2, 3))
    assert diagnosed(make(), images).findings == ()
    model = make()
    model[1].beta.data[2] = 30.0
    found = {(f.kind, f.where): f.figure for f in diagnosed(model, images).findings}
    assert found == pytest.approx({("starved", "0.weight"): 1 / 7, ("constant", "2"): 1 / 7})


def test_a_sparse_relu_is_not_saturated(backend):
    layers = [Dense(12, 21), BatchNorm(21), Activation(ReLU()), Dense(21, 3), BatchNorm(3)]
    model = build(layers, backend)
    model[1].beta.data[...] = -1.2
    assert diagnosed(model).findings == ()


@pytest.mark.parametrize(("units", "severity"), [(1, "note"), (2, "warning")])  # of 21: 4.8%, 9.5%
def test_a_constant_unit_or_two(units, severity):
    model = build(sound())
    model[1].beta.data[:units] = 40.0
    assert severities(diagnosed(model), "constant") == [(severity, "2")]
    assert (severity == "warning") == (units / 21 > CONSTANT_SHARE)


PIXELS = np.random.default_rng(8).integers(0, 256, (60, 6, 6)).astype(np.uint8)


def windows(n, m, padding=1, padding_value=0, weights=None, **options):
    weights = SignSTE() if weights is None else weights
    border = {"padding": padding, "padding_value": padding_value}
    return Conv2D(n, m, 3, bias=False, weight_quantizer=weights, **border, **options)


def sign_layer():
    return Activation(SignSTE(clip=1.0))


def picture(second, *between, first=None, start=None):
    """A convolution on pixels, a sign, what is given, and the second convolution."""
    first = windows(1, 9, padding=0) if first is None else first
    start = [Rescale(2 / 255, -1)] if start is None else start
    return [Reshape((6, 6, 1)), *start, first, BatchNorm(9), sign_layer(), *between, second,
            BatchNorm(15), sign_layer(), Flatten()]  # fmt: skip


def found_in(layers, backend="cpu"):
    """What is found between the layers: no unit's own affair."""
    body = Sequential(*layers).initialize(0)
    inputs = body.forward(PIXELS[:1]).shape[1]
    model = Sequential(*layers, dense(inputs, 3)).initialize(3).to(backend)
    report = diagnose(model, DataLoader((PIXELS, LABELS[:60]), 20).to(backend))
    named = ("zero-padding", "real-input")
    return (
        [(f.severity, f.kind, f.where) for f in report.findings if f.kind in named],
        model,
        report,
    )


@pytest.mark.parametrize(
    "between",
    [
        (),
        (Reshape((4, 4, 9)),),
        (Sequential(Sequential(Reshape((4, 4, 9)))),),
        (Dropout(0.5),),
        (MaxPool2D(2, stride=1),),
    ],
    ids=lambda v: str(v),
)
def test_a_border_of_zeros_around_signs(between, backend):
    where = str(5 + len(between))
    wrong, model, report = found_in(picture(windows(9, 15), *between), backend)
    assert wrong == [("warning", "zero-padding", where)], str(report)
    assert not report
    (finding,) = (f for f in report.findings if f.kind == "zero-padding")
    side = 3 if any(isinstance(layer, MaxPool2D) for layer in between) else 4
    assert finding.figure == pytest.approx(1 - side**2 / (side + 2) ** 2)
    assert "products need a mask" in finding.meaning
    kinds = [stage.kind for stage in pack(model.to("cpu"), (6, 6)).stages]
    assert "integer_conv" in kinds  # with a mask
    # What it says to try works.
    for options in ({"padding_value": -1}, {"padding_value": 1}, {"padding": 0}):
        clean, model, report = found_in(picture(windows(9, 15, **options), *between), backend)
        assert clean == [], str(report)
        pack(model.to("cpu"), (6, 6))


def test_borders_of_zeros_wherever_they_are():
    same = windows(9, 15, padding="same")
    assert found_in(picture(same))[0] == [("warning", "zero-padding", "5")]
    below = windows(9, 15, padding=(0, 1))  # at the sides alone
    assert found_in(picture(below))[0] == [("warning", "zero-padding", "5")]
    block = Sequential(windows(9, 15), BatchNorm(15), sign_layer())
    inside = Sequential(DirectFeedback(block, Sequential(Flatten())))
    layers = [*picture(windows(9, 15))[:5], inside]
    assert found_in(layers)[0] == [("warning", "zero-padding", "5.0.0.0")]
    signs_first = picture(windows(9, 15, padding=0), first=windows(1, 9),
                          start=(Rescale(2 / 255, -1), sign_layer()))  # fmt: skip
    assert found_in(signs_first)[0] == [("warning", "zero-padding", "3")]


def test_borders_of_zeros_around_signals_and_in_branches():
    """On signals, the figure counts one axis; inside of branches, the layer has its path."""

    def signals(**options):
        second = Conv1D(9, 15, 3, weight_quantizer=SignSTE(), bias=False, **options)
        return [Reshape((36, 1)), Rescale(2 / 255, -1),
                Conv1D(1, 9, 3, weight_quantizer=SignSTE(), bias=False), BatchNorm(9),
                sign_layer(), second, BatchNorm(15), sign_layer(), Flatten()]  # fmt: skip

    found, _, report = found_in(signals(padding=1))
    assert found == [("warning", "zero-padding", "5")]
    (finding,) = (f for f in report.findings if f.kind == "zero-padding")
    assert finding.figure == pytest.approx(2 / 36)  # 34 values between them
    for options in ({"padding": 1, "padding_value": -1}, {"padding": 0}):
        clean, model, report = found_in(signals(**options))
        assert clean == [], str(report)
        pack(model, (6, 6))
    block = Sequential(sign_layer(), windows(9, 9), BatchNorm(9))
    layers = [*picture(windows(9, 15))[:4], Residual(block), sign_layer(), Flatten()]
    assert found_in(layers)[0] == [("warning", "zero-padding", "4.block.1")]


def test_borders_of_zeros_that_are_as_they_should_be():
    # Around pixels among which zeros are.
    dark = picture(windows(9, 15, padding=0), first=windows(1, 9), start=(Rescale(1 / 255),))
    found, model, _ = found_in(dark)
    assert found == []
    pack(model, (6, 6))
    # Real weights are not binary, whatever the border.
    real = Conv2D(9, 15, 3, padding=1, bias=False)
    assert found_in(picture(real))[0] == []


def test_a_border_that_is_no_pixel_is_worth_a_note():
    """Zero lies between two pixels of Rescale(2 / 255, -1): such a model trains, and does not pack."""
    layers = picture(windows(9, 15, padding=0), first=windows(1, 9))
    found, model, report = found_in(layers)
    assert found == [("note", "zero-padding", "2")]
    assert report.ok == all(f.severity == "note" for f in report.findings)
    with pytest.raises(PackError):
        pack(model, (6, 6))
    for options in ({"padding_value": -1}, {"padding": 0}):
        layers = picture(windows(9, 15, padding=0), first=windows(1, 9, **options))
        found, model, _ = found_in(layers)
        assert found == []
        pack(model, (6, 6))


@pytest.mark.parametrize(
    "between",
    [AveragePool2D(2, stride=1), Dropout(0.5, rescale=False), Rescale(0.5), BatchNorm(9),
     Sequential(AveragePool2D(2))],
    ids=lambda v: str(v),
)  # fmt: skip
def test_real_numbers_behind_a_sign(between, backend):
    wrong, _, report = found_in(picture(windows(9, 15, padding_value=-1), between), backend)
    assert wrong == [("warning", "real-input", "6")], str(report)
    # What it says to try works: a sign last.
    again = Sequential(copy.deepcopy(between), sign_layer())
    wrong, _, report = found_in(picture(windows(9, 15, padding_value=-1), again), backend)
    assert wrong == [], str(report)
