"""Twelve small networks of every packable kind, trained for a short time, on three sorts of data.

Each is a function that returns `Trained`. Digits are MNIST (or the bundled sample); tables and
sensor windows lie inside the packages scikit-learn, palmerpenguins and sktime, which a network
imports when it is trained.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.contestant import Array
from minibnn import (
    Activation,
    Adam,
    ApproxSign,
    AveragePool2D,
    BatchNorm,
    BinaryCrossEntropy,
    Conv1D,
    Conv2D,
    DataLoader,
    Dense,
    DoReFaActivations,
    DoReFaWeights,
    Flatten,
    Layer,
    LogitCrossEntropy,
    Loss,
    MaxPool2D,
    OneHotCode,
    PReLU,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    SignSTE,
    TernaryWeights,
    Thermometer,
    Uniform,
    fit,
    load_mnist_or_sample,
)
from minibnn.recipes import RECIPES


@dataclass
class Trained:
    """A trained network, and samples that it has not seen.

    Attributes:
        model: the network.
        samples: of the test part, in the dtype that the network takes.
        labels: their true labels.
        names: ``feature_names`` and ``class_names`` for `pack`.
    """

    model: Sequential
    samples: Array
    labels: Array
    names: dict[str, Any]


Data = tuple[Array, Array, Array, Array]  # samples and labels to train, and to test


def sign() -> Activation:
    """A sign whose gradient ends at 1."""
    return Activation(SignSTE(clip=1.0))


def bits() -> dict[str, Any]:
    """The arguments of a layer with binary weights, which batch norm follows."""
    return {"bias": False, "weight_quantizer": SignSTE(), "weight_init": Uniform(),
            "weight_bound": 1.0}  # fmt: skip


def trained(
    layers: list[Layer],
    data: Data,
    epochs: int,
    *,
    rate: float = 0.01,
    loss: Loss | None = None,
    batch: int = 100,
    **names: list[str],
) -> Trained:
    """The network after its training."""
    x, y, test_x, test_y = data
    model = Sequential(*layers).initialize(0)
    loader = DataLoader((x, y), min(batch, len(x) // 4), shuffle=True, rng=0)
    optimizer = Adam(model.parameters(), learning_rate=rate)
    loss = LogitCrossEntropy() if loss is None else loss
    fit(model, loader, loss=loss, optimizer=optimizer, epochs=epochs, evaluate_train=None,
        progress=False)  # fmt: skip
    return Trained(model, test_x, test_y, names)


# --- digits ---------------------------------------------------------------------------------------


def digits() -> Data:
    """MNIST, or the bundled sample."""
    data = load_mnist_or_sample()
    return data.train_images, data.train_labels, data.test_images, data.test_labels


def recipe(name: str, epochs: int) -> Trained:
    """A recipe as it stands."""
    data = load_mnist_or_sample()
    model, _ = RECIPES[name]().train(data, epochs=epochs, progress=False)
    return Trained(model, data.test_images, data.test_labels, {})


def readme_cnn(epochs: int) -> Trained:
    """The convolutional network of README, whose last layer has real weights on real inputs."""
    layers = [
        Reshape((28, 28, 1)), Rescale(2 / 255, -1),
        Conv2D(1, 16, 3, bias=False, weight_quantizer=SignSTE()), MaxPool2D(2), BatchNorm(16),
        sign(),
        Conv2D(16, 16, 3, padding=1, padding_value=-1, bias=False, weight_quantizer=SignSTE()),
        MaxPool2D(13), BatchNorm(16), Flatten(), Dense(16, 10),
    ]  # fmt: skip
    return trained(layers, digits(), epochs)


def real_ends(epochs: int) -> Trained:
    """Bi-Real style: real first and last layers, a real shortcut around each binary convolution."""

    def block(n: int) -> list[Layer]:
        inside = Activation(ApproxSign()), Conv2D(n, n, 3, padding=1, **bits()), BatchNorm(n)
        return [Residual(Sequential(*inside)), PReLU(n)]

    layers = [
        Reshape((28, 28, 1)), Rescale(1 / 255), Conv2D(1, 16, 3, stride=2, padding=1, bias=False),
        BatchNorm(16), PReLU(16), *block(16), *block(16), AveragePool2D(2), Flatten(),
        Dense(16 * 49, 10),
    ]  # fmt: skip
    return trained(layers, digits(), epochs, rate=0.003)


def depthwise(epochs: int) -> Trained:
    """A binary convolution in each channel (padded with 0), then one across channels."""
    layers = [
        Reshape((28, 28, 1)), Rescale(2 / 255, -1), Conv2D(1, 32, 3, stride=2, **bits()),
        BatchNorm(32), sign(),
        Conv2D(32, 32, 3, padding=1, groups=32, **bits()), BatchNorm(32), sign(),
        Conv2D(32, 64, 1, **bits()), MaxPool2D(2), BatchNorm(64), sign(),
        Flatten(), Dense(64 * 36, 10, **bits()), BatchNorm(10),
    ]  # fmt: skip
    return trained(layers, digits(), epochs)


def ternary(epochs: int) -> Trained:
    """Weights of -1, 0 and +1."""
    options: dict[str, Any] = {"bias": False, "weight_quantizer": TernaryWeights()}
    layers = [
        Flatten(), Rescale(1 / 255), Dense(784, 128, **options), BatchNorm(128), sign(),
        Dense(128, 64, **options), BatchNorm(64), sign(), Dense(64, 10, **options), BatchNorm(10),
    ]  # fmt: skip
    return trained(layers, digits(), epochs)


def two_bits(epochs: int) -> Trained:
    """Weights and activations of two bits."""
    options: dict[str, Any] = {"bias": False, "weight_quantizer": DoReFaWeights(2)}
    levels = partial(Activation, DoReFaActivations(2))
    layers = [
        Reshape((28, 28, 1)), Rescale(1 / 255), Conv2D(1, 16, 3, stride=2, **options),
        BatchNorm(16), levels(), Conv2D(16, 32, 3, stride=2, padding=1, **options), BatchNorm(32),
        levels(), Flatten(), Dense(32 * 49, 10, **options), BatchNorm(10),
    ]  # fmt: skip
    return trained(layers, digits(), epochs)


def one_output(epochs: int) -> Trained:
    """Whether a digit is 5 or more: a single output."""
    x, y, test_x, test_y = digits()
    layers = [
        Flatten(), Rescale(1 / 255), Dense(784, 128, **bits()), BatchNorm(128), sign(),
        Dense(128, 1, **bits()), BatchNorm(1),
    ]  # fmt: skip
    data = x, (y >= 5).astype(int), test_x, (test_y >= 5).astype(int)
    names = ["0 to 4", "5 to 9"]
    return trained(layers, data, epochs, loss=BinaryCrossEntropy(), class_names=names)


# --- tables ---------------------------------------------------------------------------------------


def parts(x: Array, y: Array) -> Data:
    """A fifth of the samples to test."""
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    n = len(x) // 5
    return x[n:], y[n:], x[:n], y[:n]


def thermometer(epochs: int) -> Trained:
    """Measurements of tumours, float32, as thermometers."""
    table = importlib.import_module("sklearn.datasets").load_breast_cancer()
    data = parts(table.data.astype(np.float32), table.target)
    layers = [
        Thermometer(30, 8), Dense(240, 32, **bits()), BatchNorm(32), sign(),
        Dense(32, 2, **bits()), BatchNorm(2),
    ]  # fmt: skip
    names: dict[str, Any] = {
        "feature_names": list(table.feature_names),
        "class_names": list(table.target_names),
    }
    return trained(layers, data, 20 * epochs, **names)


def one_hot(epochs: int) -> Trained:
    """The species of penguins from categories alone: island, sex, year, sizes in five classes."""
    table = importlib.import_module("palmerpenguins").load_penguins()
    columns = {name: pd.Categorical(table[name].fillna("?")).codes for name in ("island", "sex")}
    columns["year"] = table.year - table.year.min()
    for name in ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"):
        columns[name] = pd.qcut(table[name], 5, labels=False).fillna(5)
    x = np.stack([np.asarray(column, np.int16) for column in columns.values()], axis=1)
    species = pd.Categorical(table.species)
    layers = [
        OneHotCode(7, 6), Dense(42, 32, **bits()), BatchNorm(32), sign(), Dense(32, 3, **bits()),
        BatchNorm(3),
    ]  # fmt: skip
    names: dict[str, Any] = {
        "feature_names": list(columns),
        "class_names": list(species.categories),
    }
    return trained(layers, parts(x, species.codes.astype(int)), 20 * epochs, **names)


def sensors(epochs: int) -> Trained:
    """Four motions from 100 readings of six channels of a wearable, int16: one-dimensional."""
    home = Path(installed("sktime"))
    found = [read_motions(home / f"datasets/data/BasicMotions/BasicMotions_{part}.ts")
             for part in ("TRAIN", "TEST")]  # fmt: skip
    motions = sorted(set(found[0][1]))
    arrays = [(x, np.array([motions.index(name) for name in names])) for x, names in found]
    layers = [
        Thermometer(6, 6), Conv1D(36, 16, 5, stride=3, padding=2, **bits()), BatchNorm(16), sign(),
        Conv1D(16, 16, 5, stride=3, **bits()), BatchNorm(16), sign(),
        Flatten(), Dense(160, 4, **bits()), BatchNorm(4),
    ]  # fmt: skip
    return trained(layers, (*arrays[0], *arrays[1]), 60 * epochs, class_names=motions)


def installed(package: str) -> str:
    """The folder of a package, which need not be imported for its data.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}")
    return str(Path(spec.origin).parent)


def read_motions(path: Path) -> tuple[Array, list[str]]:
    """Windows (n, readings, channels) in thousandths, and the name of each motion."""
    lines = path.read_text(encoding="utf-8").split("@data\n")[1].split()
    windows, names = [], []
    for line in lines:
        *channels, name = line.split(":")
        windows.append([[float(v) for v in channel.split(",")] for channel in channels])
        names.append(name)
    readings = np.rint(np.array(windows).transpose(0, 2, 1) * 1000)
    return np.ascontiguousarray(readings, np.int16), names


NETWORKS: dict[str, Callable[[int], Trained]] = {
    **{name: partial(recipe, name) for name in ("seed", "modern", "larq-cnn")},
    "readme-cnn": readme_cnn,
    "real-ends": real_ends,
    "depthwise": depthwise,
    "ternary": ternary,
    "two-bit": two_bits,
    "one-output": one_output,
    "thermometer": thermometer,
    "one-hot": one_hot,
    "sensors": sensors,
    "finn-sfc-8bit": partial(recipe, "finn-sfc-8bit"),
    "bi-real": partial(recipe, "bi-real"),
}
