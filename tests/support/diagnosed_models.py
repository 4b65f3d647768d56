"""A sound model and its data, and models with a planted fault, for the diagnosis."""

from __future__ import annotations

import numpy as np

from minibnn import (
    Activation,
    BatchNorm,
    DataLoader,
    Dense,
    Layer,
    RandomStream,
    ReLU,
    Sequential,
    SignSTE,
    Uniform,
    diagnose,
)

LABELS = np.arange(300) % 3
X = np.random.default_rng(5).standard_normal((3, 12))[LABELS]
X = (X + np.random.default_rng(6).standard_normal((300, 12))).astype(np.float32)


def loader(x=X, labels=LABELS):
    return DataLoader((x, labels), 50, shuffle=True, rng=1)


def dense(n, m, **options):
    settings = {"weight_init": Uniform(-1, 1), "weight_bound": 1.0} | options
    return Dense(n, m, bias=False, weight_quantizer=SignSTE(), **settings)


def sound() -> list[Layer]:
    return [
        dense(12, 21),
        BatchNorm(21),
        Activation(SignSTE(clip=1.0)),
        dense(21, 15),
        BatchNorm(15),
        Activation(SignSTE(clip=1.0)),
        dense(15, 3),
        BatchNorm(3),
    ]


def build(layers, backend="cpu") -> Sequential:
    return Sequential(*layers).initialize(3).to(backend)


def diagnosed(model, data=None):
    return diagnose(model, (data or loader()).to(model.backend))


def shifted_away():
    """One unit's threshold lies outside of all values: no gradient passes its clip."""
    model = build(sound())
    model[1].beta.data[4] = 40.0
    return model, None


def dark_pixels():
    x = X.copy()
    x[:, [2, 5, 7]] = 0
    return build(sound()), loader(x)


def relu_before_sign():
    layers = sound()
    layers[2:3] = [Activation(ReLU()), Activation(SignSTE(clip=1.0))]
    return build(layers), None


class Noise(Layer):
    """Draws in training; zeros half of its input, as dropout does."""

    def __init__(self):
        self.stream = RandomStream()

    def forward(self, x, *, train=False):
        if not train:
            return x
        keep = self.stream.uniform(self.backend, x.shape, x.dtype) < 0.5
        self.saved = (x.shape, keep)
        return x * keep

    def backward(self, dy, *, need_dx=True):
        (keep,) = self.take_saved(dy)
        return dy * keep


def severities(report, kind):
    return [(f.severity, f.where) for f in report.findings if f.kind == kind]
