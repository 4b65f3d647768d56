"""What `diagnose` says to try, tried: the finding is gone."""

from __future__ import annotations

import numpy as np
from advice import shows

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    Blocked,
    Bop,
    Conv2D,
    DataLoader,
    Dense,
    FixedFeedback,
    Flatten,
    Function,
    LogitCrossEntropy,
    OptimizerGroup,
    ReLU,
    Rescale,
    Sequential,
    SignSTE,
    Uniform,
    diagnose,
    fit,
    pack,
    split_parameters,
)

LABELS = np.arange(300) % 3
X = np.random.default_rng(5).standard_normal((3, 12))[LABELS]
X = (X + np.random.default_rng(6).standard_normal((300, 12))).astype(np.float32)
SIGN = SignSTE(clip=1.0)


def dense(n, m, **options):
    settings = {"weight_init": Uniform(-1, 1), "weight_bound": 1.0} | options
    return Dense(n, m, bias=False, weight_quantizer=SIGN, **settings)


def look(*layers, x=X, labels=LABELS, loss=None, change=None):
    """The diagnosis of a new model, as text and as a set of (kind, where)."""
    model = layers[0] if isinstance(layers[0], Sequential) else Sequential(*layers).initialize(3)
    if change is not None:
        change(model)
    report = diagnose(model, DataLoader((x, labels), 50), loss)
    return str(report), {(f.kind, f.where) for f in report.findings}


def first(clip=SIGN, norm=(), inputs=12, units=21):
    return [dense(inputs, units), *norm, Activation(clip), dense(units, 3), BatchNorm(3)]


def test_saturated():
    bytes_ = (100 * X).astype(np.float32)
    text, found = look(*first(), x=bytes_)
    shows("diagnosis", "put BatchNorm before it, or widen the clip", text)
    assert ("saturated", "1") in found
    text, found = look(*first(norm=[BatchNorm(21)]), x=bytes_)
    assert not found, text
    text, found = look(*first(SignSTE(clip=1000.0)), x=bytes_)
    assert "saturated" not in text


def test_constant():
    shifted = X + 100
    text, found = look(*first(), x=shifted)
    shows(
        "diagnosis",
        "put BatchNorm before it; if it is there, look at its shift beta",
        text,
    )
    assert ("constant", "1") in found
    text, found = look(*first(norm=[BatchNorm(21)]), x=shifted)
    assert not found, text

    def shift(model, by):
        model[1].beta.data[...] = by

    _, found = look(*first(norm=[BatchNorm(21)]), change=lambda m: shift(m, 50))
    assert ("constant", "2") in found
    _, found = look(*first(norm=[BatchNorm(21)]), change=lambda m: shift(m, 0))
    assert not found


def test_zero_at_sign():
    def relu(*between):
        return [dense(12, 21), *between, Activation(SIGN), dense(21, 3), BatchNorm(3)]

    text, found = look(*relu(Activation(ReLU())))
    shows(
        "diagnosis",
        "leave out the ReLU (or what else makes zeros) before a sign; use an odd number of inputs, "
        "or BatchNorm, which moves them once it is trained",
        text,
    )
    assert ("zero-at-sign", "2") in found
    assert "zero-at-sign" not in look(*relu())[0]

    def few(inputs, *norm):
        units = [dense(12, inputs), Activation(SIGN), dense(inputs, 30), *norm, Activation(SIGN)]
        return Sequential(*units, dense(30, 3)).initialize(3)

    assert "zero-at-sign" in look(few(4))[0]
    assert "zero-at-sign" not in look(few(5))[0]
    model, data = few(4, BatchNorm(30)), DataLoader((X, LABELS), 50)
    optimizer = Adam(model.parameters(), 0.01)
    fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
    assert "zero-at-sign" not in look(model)[0]


def test_real_input():
    text, found = look(*[dense(12, 21), Activation(SIGN), BatchNorm(21), dense(21, 3)])
    shows(
        "diagnosis",
        "let Activation(SignSTE(clip=1.0)) be the last before it: normalise and pool before the "
        "sign, not after",
        text,
    )
    assert ("real-input", "3") in found
    text, found = look(dense(12, 21), BatchNorm(21), Activation(SignSTE(clip=1.0)), dense(21, 3))
    assert not found, text


def test_zero_padding():
    pictures = np.random.default_rng(0).integers(0, 256, (300, 6, 6, 1), np.uint8)

    def network(first, second):
        conv = {"weight_quantizer": SIGN, "weight_bound": 1.0, "weight_init": Uniform(-1, 1)}
        layers = [Rescale(2 / 255, -1), Conv2D(1, 9, 3, **conv, **first), BatchNorm(9)]
        layers += [Activation(SIGN), Conv2D(9, 5, 3, **conv, **second), BatchNorm(5)]
        layers += [Activation(SIGN), Flatten()]
        rows = 6 - 2 * (first.get("padding", 0) == 0) - 2 * (second.get("padding", 0) == 0)
        model = Sequential(*layers, dense(5 * rows * rows, 3)).initialize(3)
        text, found = look(model, x=pictures)
        return text, {where for kind, where in found if kind == "zero-padding"}, model

    text, found, _ = network({"padding": 1, "padding_value": -1}, {"padding": 1})
    shows("diagnosis", "use padding_value=-1 or padding_value=1, or padding=0", text)
    assert found == {"4"}
    text, found, _ = network({"padding": 1}, {})
    shows(
        "diagnosis",
        "use padding_value=-1 behind Rescale(2 / 255, -1), or padding=0",
        text,
    )
    assert found == {"1"}
    first = {"padding": 1, "padding_value": -1}
    for mended in ({"padding": 1, "padding_value": -1}, {"padding": 1, "padding_value": 1}, {}):
        for start in (first, {}):
            _, found, model = network(start, mended)
            assert not found
            assert pack(model, (6, 6, 1)).classes == 3


class Odd(Function):
    """Twice x, but for a mistake that makes nan forwards or backwards."""

    def __init__(self, wrong=""):
        self.wrong = wrong

    def forward(self, x):
        return np.sqrt(x) if self.wrong == "forward" else 2 * x

    def backward(self, dy, x):
        return dy * (np.nan if self.wrong == "backward" else 2)


class WrongLoss(LogitCrossEntropy):
    """A loss that divides by the labels."""

    def forward(self, logits, labels):
        return super().forward(logits, labels) / labels.min()


def test_non_finite():
    spoilt = X.copy()
    spoilt[7, 3] = np.nan
    text, found = look(*first(norm=[BatchNorm(21)]), x=spoilt)
    shows(
        "diagnosis",
        "clean the data: look for division by zero in its preparation",
        text,
    )
    clean = spoilt[np.isfinite(spoilt).all(axis=1)]
    _, found = look(*first(norm=[BatchNorm(21)]), x=clean, labels=np.delete(LABELS, 7))
    assert not found

    def train(rate):
        """In somebody's own loop, with an update of their own."""
        model = Sequential(*first(norm=[BatchNorm(21)])).initialize(3)
        loss = LogitCrossEntropy()
        with np.errstate(all="ignore"):
            for x, labels in DataLoader((X, LABELS), 50):
                loss.forward(model.forward(x, train=True), labels)
                model.backward(loss.backward(), need_dx=False)
                for p in model.parameters():
                    p.data -= np.float32(rate) * p.grad
        return model

    text, found = look(train(1e39))
    shows(
        "diagnosis",
        "initialize the model anew, and try a smaller learning rate",
        text,
    )
    text, found = look(train(0.01))
    assert not found, text

    def layers(wrong):
        return [
            dense(12, 21),
            Activation(Odd(wrong)),
            BatchNorm(21),
            Activation(SIGN),
            dense(21, 3),
        ]

    text, found = look(*layers("forward"))
    shows(
        "diagnosis",
        "look at this layer's forward: a division, a root or an overflow",
        text,
    )
    assert ("non-finite", "1") in found
    text, found = look(*layers("backward"))
    shows("diagnosis", "look at the backward of the layers from here to the loss", text)
    assert ("non-finite", "0.weight") in found
    text, found = look(*layers(""))
    assert not found, text
    text, found = look(*layers(""), loss=WrongLoss())
    shows("diagnosis", "look at the loss and its labels", text)
    text, found = look(*layers(""), loss=LogitCrossEntropy())
    assert not found, text


def test_starved():
    def network(feedback=None, gamma=1.0, clip=SIGN):
        layers = [dense(12, 21), BatchNorm(21), Activation(clip), dense(21, 15, feedback=feedback)]
        layers += [BatchNorm(15), Activation(SIGN), dense(15, 3), BatchNorm(3)]

        def change(model):
            model[4].gamma.data[...] = gamma

        return look(*layers, change=change)

    for wrong in ({"feedback": Blocked()}, {"gamma": 0.0}, {"clip": SignSTE(clip=1e-9)}):
        text, found = network(**wrong)
        shows(
            "diagnosis",
            "look at what follows: units outside their activation's clip, a scale of zero, a "
            "feedback that blocks the error",
            text,
        )
        assert ("starved", "0.weight") in found
    for mended in ({"feedback": FixedFeedback()}, {"gamma": 1.0}, {"clip": SignSTE(clip=1.0)}):
        text, found = network(**mended)
        assert not found, text


def test_clipped():
    text, found = look(
        dense(12, 21, weight_init=Uniform(-3, 3), weight_bound=None), BatchNorm(21), Activation(SIGN),
        dense(21, 3),
    )  # fmt: skip
    shows(
        "diagnosis",
        "keep them inside: weight_bound equal to the clip, and a weight_init within it",
        text,
    )
    assert ("clipped", "0.weight") in found
    text, found = look(
        dense(12, 21, weight_init=Uniform(-1, 1), weight_bound=SIGN.clip), BatchNorm(21),
        Activation(SIGN), dense(21, 3),
    )  # fmt: skip
    assert not found, text


def test_zero_input():
    pixels = np.clip(40 * X + 100, 0, 255).astype(np.uint8)
    pixels[:, :3] = 0  # always dark

    def network(*rescale):
        return look(Rescale(*rescale), *first(norm=[BatchNorm(21)]), x=pixels)

    text, found = network(1 / 255)
    shows(
        "diagnosis",
        "for pixels, Rescale(2 / 255, -1) makes dark ones -1 instead of 0; for a hidden layer, "
        "look at the units below",
        text,
    )
    assert ("zero-input", "1.weight") in found
    text, found = network(2 / 255, -1)
    assert not found, text

    def hidden(beta):
        layers = [dense(12, 21), BatchNorm(21), Activation(ReLU()), dense(21, 3), BatchNorm(3)]

        def change(model):
            model[1].beta.data[:4] = beta  # units that never show anything

        return look(*layers, change=change)[0]

    assert "zero-input" in hidden(-99)
    assert "zero-input" not in hidden(0)


def test_at_bound():
    def trained(rate, lr_scale=1.0):
        layers = first(norm=[BatchNorm(21)])
        layers[0] = dense(12, 21, lr_scale=lr_scale)
        model = Sequential(*layers).initialize(3)
        data = DataLoader((X, LABELS), 50)
        optimizer = Adam(model.parameters(), rate)
        fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
        return look(model)

    text, found = trained(30.0)
    shows(
        "diagnosis",
        "a smaller learning rate, or a smaller lr_scale; Bop's weights always lie at 1, so give "
        "them no weight_bound",
        text,
    )
    assert ("at-bound", "0.weight") in found
    assert "at-bound" not in trained(0.01)[0]
    assert ("at-bound", "0.weight") in trained(0.1, lr_scale=300)[1]
    assert "at-bound" not in trained(0.1, lr_scale=1)[0]

    def with_bop(bound):
        layers = first(norm=[BatchNorm(21)])
        layers[0], layers[3] = dense(12, 21, weight_bound=bound), dense(21, 3, weight_bound=bound)
        model = Sequential(*layers).initialize(3)
        binary, rest = split_parameters(model)
        OptimizerGroup(Bop(binary), Adam(rest))
        return look(model)[0]

    assert "at-bound" in with_bop(1.0)
    assert "at-bound" not in with_bop(None)


def test_small_scale():
    def network(gamma):
        def change(model):
            model[1].gamma.data[:5] = gamma

        return look(*first(norm=[BatchNorm(21)]), change=change)

    text, found = network(1e-6)
    shows(
        "diagnosis",
        "set these scales to 1 and try a smaller learning rate",
        text,
    )
    assert ("small-scale", "1.gamma") in found
    text, found = network(1)
    assert not found, text
