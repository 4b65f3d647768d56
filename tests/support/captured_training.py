"""Models that are trained by plain steps and by captured steps, and the comparison of both."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    SGD,
    Activation,
    Adam,
    AdaMax,
    AdamW,
    BatchNorm,
    Bop,
    Concatenate,
    Conv1D,
    Conv2D,
    Cosine,
    DataLoader,
    Dense,
    DirectFeedback,
    Dropout,
    FixedFeedback,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    LogitCrossEntropy,
    MagnitudeAwareSign,
    MaxPool2D,
    OptimizerGroup,
    PReLU,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    ShiftAdaMax,
    ShiftBatchNorm,
    SignSTE,
    Standardize,
    StochasticSign,
    Thermometer,
    Uniform,
    WarmUp,
    fit_codes,
    split_parameters,
)
from minibnn.backend import CPU
from minibnn.training import CapturedSteps, PlainSteps

SIDE, CLASSES, SAMPLES = 8, 4, 90


def data(backend, samples=SAMPLES, seed=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, samples)
    patterns = rng.integers(0, 200, (CLASSES, SIDE, SIDE))
    images = (patterns[labels] + rng.integers(0, 56, (samples, SIDE, SIDE))).astype(np.uint8)
    return backend.asarray(images), backend.asarray(labels.astype(np.uint8))


def batches(backend, batch=10, **options):
    options = {"shuffle": True, "drop_last": False, "rng": 5} | options
    return DataLoader(data(backend), batch, **options)


def dense(*between, quantizer=None, feedback=None):
    weights = {
        "weight_quantizer": quantizer or SignSTE(),
        "weight_init": Uniform(),
        "weight_bound": 1.0,
    }
    return Sequential(
        Flatten(),
        Rescale(2 / 255, -1),
        Dense(SIDE * SIDE, 12, feedback=feedback, **weights),
        *between,
        Activation(SignSTE(clip=1.0)),
        Dense(12, CLASSES, **weights),
    )


def convolutional():
    weights = {"weight_quantizer": SignSTE(), "weight_init": Uniform(), "weight_bound": 1.0}
    return Sequential(
        Reshape((SIDE, SIDE, 1)),
        Rescale(2 / 255, -1),
        Conv2D(1, 6, 3, **weights),
        MaxPool2D(2),
        BatchNorm(6),
        Activation(SignSTE(clip=1.0)),
        Conv2D(6, 5, 3, padding=1, padding_value=-1, **weights),
        Activation(SignSTE(clip=1.0)),
        Flatten(),
        Dense(45, CLASSES, **weights),
    )


def branching():
    """Residual blocks and branches on images, then on signals."""

    def block(conv):
        return Sequential(Activation(SignSTE(clip=1.0)), conv, BatchNorm(6), Dropout(0.2))

    weights = {"weight_quantizer": SignSTE(), "weight_init": Uniform(), "weight_bound": 1.0}
    return Sequential(
        Reshape((SIDE, SIDE, 1)),
        Rescale(2 / 255, -1),
        Conv2D(1, 6, 3, **weights),
        Residual(block(Conv2D(6, 6, 3, padding=1, padding_value=1, **weights))),
        PReLU(6),
        Concatenate(
            GlobalAveragePool2D(),
            Sequential(
                Reshape((36, 6)),
                Residual(block(Conv1D(6, 6, 3, stride=2, **weights)), Conv1D(6, 6, 3, stride=2)),
                Flatten(),
            ),
        ),
        Dense(6 + 17 * 6, CLASSES, **weights),
    )


def coded():
    """Codes that were fitted before."""
    model = dense()
    pixels = data(CPU)[0].reshape(-1, SIDE * SIDE)
    front = [Flatten(), Standardize(SIDE * SIDE), Thermometer(SIDE * SIDE, 2)]
    weights = {"weight_quantizer": SignSTE(), "weight_init": Uniform(), "weight_bound": 1.0}
    coded = Sequential(*front, Dense(2 * SIDE * SIDE, 12, **weights), *model[3:])
    fit_codes(coded, pixels)
    return coded


MODELS = {
    "dense": dense,
    "batch norm": lambda: dense(BatchNorm(12)),
    "shift-based batch norm": lambda: dense(ShiftBatchNorm(12)),
    "dropout": lambda: dense(Dropout(0.3), Dropout(0.2)),
    "stochastic signs": lambda: dense(Activation(StochasticSign()), quantizer=StochasticSign()),
    "scaled signs": lambda: dense(quantizer=MagnitudeAwareSign()),
    "feedback alignment": lambda: dense(feedback=FixedFeedback()),
    "direct feedback": lambda: Sequential(
        DirectFeedback(
            Sequential(
                Flatten(), Rescale(2 / 255, -1), Dense(64, 12), Activation(SignSTE(clip=1.0))
            ),
            Sequential(Dense(12, CLASSES)),
        )
    ),
    "convolutions": convolutional,
    "branches": branching,
    "input codes": coded,
}


OPTIMIZERS = {
    "sgd": lambda m: SGD(m.parameters(), Cosine(0.1, 0, length=20), momentum=0.9),
    "adam": lambda m: Adam(m.parameters(), Cosine(0.01, 0, length=20)),
    "adamw": lambda m: AdamW(
        m.parameters(), WarmUp(Cosine(0.01, 0, length=20), 4), weight_decay=0.3
    ),
    "adamax": lambda m: AdaMax(m.parameters(), 0.01),
    "shift-adamax": lambda m: ShiftAdaMax(m.parameters(), Cosine(0.01, 0, length=12)),
    "bop and adam": lambda m: OptimizerGroup(
        Bop(split_parameters(m)[0], gamma=Cosine(0.1, 0.01, length=20)),
        Adam(split_parameters(m)[1], 0.01),
    ),
}


def training(kind, backend, build, make_optimizer, loss=None, **options):
    model = build().initialize(1).to(backend)
    return kind(model, loss or LogitCrossEntropy(), make_optimizer(model), **options)


def flat(optimizer):
    """The optimisers in a group, including nested groups."""
    members = getattr(optimizer, "optimizers", None)
    return [optimizer] if members is None else [f for m in members for f in flat(m)]


def everything(steps):
    """Everything that training changes, copied to the host."""
    model, to_host = steps.model, steps.model.backend.to_host
    values = {path: to_host(p.data).copy() for path, p in model.named_parameters()}
    values |= {f"buffer {i}": to_host(b.data).copy() for i, b in enumerate(model.buffers())}
    for i, member in enumerate(flat(steps.optimizer)):
        values[f"steps of {i}"] = np.array(member.steps)
        for name, value in vars(member).items():
            if isinstance(value, model.backend.array_type):
                values[f"{i}.{name}"] = to_host(value).copy()
    return values


def assert_equal(one, other):
    one, other = everything(one), everything(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)


def run_both(backend, build, make_optimizer, *, epochs=3, loss=None, most=4, **options):
    """Train by plain steps and by captured steps, and compare everything after each epoch."""
    plain = training(PlainSteps, backend, build, make_optimizer, loss)
    captured = training(CapturedSteps, backend, build, make_optimizer, loss, steps_at_once=most)
    one, other = batches(backend, **options), batches(backend, **options)
    for _ in range(epochs):
        losses = [
            backend.to_host(s.epoch(data)).tolist() for s, data in ((plain, one), (captured, other))
        ]
        assert losses[0] == losses[1]
        assert_equal(plain, captured)
    assert captured.refused is None
    assert captured._captured.captured
    return plain, captured


def warned(steps, loader, match, epochs=2):
    with pytest.warns(UserWarning, match=match):
        steps.epoch(loader)
    for _ in range(epochs - 1):
        steps.epoch(loader)  # and no second warning
    assert steps.refused
    assert not steps.captured


class Own(Layer):
    """A layer that does something to its input, or to itself, on the way."""

    def __init__(self, what):
        self.what = what
        self.scale = 1.0
        self.seen = None

    def forward(self, x, *, train=False):
        self.check_input(x)
        y = self.what(self, x) if train else x
        if train:
            self.saved = (x.shape,)
        return y

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


def reads(layer, x):
    return x * (1.0 if float(x[0, 0]) < 1e9 else 2.0)


def anneals(layer, x):
    layer.scale *= 0.9
    return x * layer.scale
