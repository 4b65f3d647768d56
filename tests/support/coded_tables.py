"""Small models with input codes, and tables to fit and to train them on."""

from __future__ import annotations

import numpy as np
from packed_models import SIGN, dense

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    Flatten,
    InputContract,
    OneHotCode,
    Rescale,
    Sequential,
    SignSTE,
    Standardize,
    Thermometer,
    Uniform,
    fit_codes,
    pack,
)


def table(dtype="float32", rows=60, shape=(3,), seed=0):
    """Samples of a dtype, and labels of three classes that depend on them."""
    x = np.random.default_rng(seed).standard_normal((rows, *shape)) * 20
    labels = (x.reshape(rows, -1)[:, 0] > 0) + (x.reshape(rows, -1)[:, 1] > 5).astype(int)
    if np.dtype(dtype).kind != "f":
        ends = np.iinfo(dtype)
        x = (x.round() // 4 + (40 if dtype == "uint8" else 0)).clip(ends.min, ends.max)
    return x.astype(dtype), labels


# The layers in front, the dtype and the shape of a sample, and how many signs there are.
FRONTS = {
    "thermometer": (lambda: [Thermometer(3, 4)], "float32", (3,), 12),
    "uniform thermometer": (lambda: [Thermometer(3, 4, "uniform")], "int16", (3,), 12),
    "thermometer of bytes": (lambda: [Thermometer(3, 5)], "uint8", (3,), 15),
    "one-hot": (lambda: [OneHotCode(3, 40)], "int8", (3,), 120),
    "one-hot floats": (lambda: [OneHotCode(3, 60)], "float32", (3,), 180),
    "standardised sign": (lambda: [Standardize(3), Activation(SIGN)], "float32", (3,), 3),
    "sign of bytes": (lambda: [Standardize(3), Activation(SIGN)], "uint8", (3,), 3),
    "falling": (
        lambda: [Standardize(3), Rescale(-2.0, 0.5), Thermometer(3, 4)], "int16", (3,), 12,
    ),
    "image": (lambda: [Thermometer(3, 2), Flatten()], "int8", (2, 3), 12),
}  # fmt: skip


def tail(bits, classes=3):
    """A network on so many signs, which trains and packs."""
    latent = {"bias": False, "weight_init": Uniform(), "weight_bound": 1.0}
    return [
        dense(bits, 9, **latent), BatchNorm(9), Activation(SignSTE(clip=1.0)),
        dense(9, classes, **latent), BatchNorm(classes),
    ]  # fmt: skip


def coded(name="thermometer", seed=0):
    """A model whose codes are fitted, and which knows its input as if it had been trained."""
    front, dtype, shape, bits = FRONTS[name]
    model = Sequential(*front(), *tail(bits)).initialize(seed)
    fit_codes(model, table(dtype, shape=shape)[0])
    model.input_contract = InputContract(dtype, shape)
    return model


def named(name="thermometer"):
    """A packed model with a code and all names."""
    shape = FRONTS[name][2]
    features = [f"reading {i}" for i in range(shape[-1])]
    return pack(coded(name), feature_names=features, class_names=["low", "µ", ""])


def of_numbers(outputs=1, seed=0):
    """A model of numbers around 300, as `coded`: its last weights are real."""
    rng = np.random.default_rng(seed)
    model = Sequential(*coded(seed=seed)[:-2], Dense(9, outputs)).initialize(seed)
    fit_codes(model, table()[0])
    model[-1].weight.data[...] = 50 * rng.standard_normal((9, outputs))
    model[-1].bias.data[...] = 300
    model.input_contract = InputContract("float32", (3,))
    return model
