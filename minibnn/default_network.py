"""A network for data of your own, and its training, as far as you do not say otherwise.

How the defaults were chosen, and on which data, is in ``docs/decisions/training.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.checks import integer
from minibnn.encoding import OneHotCode, Thermometer
from minibnn.functions import SignSTE
from minibnn.initializers import Uniform
from minibnn.layers import (
    Activation,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    Rescale,
    Reshape,
    Sequential,
)
from minibnn.losses import LogitCrossEntropy, MeanSquaredError
from minibnn.training.recipe import Recipe

ENCODINGS = ("thermometer", "uniform", "one-hot", "bytes")
LARGE = 16  # rows and columns of an image from which on it gets convolutions
STEPS, MOST_EPOCHS = 2000, 300  # of a training


@dataclass(frozen=True)
class Plan:
    """How the default training goes.

    Attributes:
        epochs: passes over the training samples.
        batch_size: samples in a step.
        learning_rate: at the start; it falls to 0 along half a cosine.
    """

    epochs: int
    batch_size: int
    learning_rate: float


def default_encoding(shape: tuple[int, ...], dtype: Any) -> str:
    """``"bytes"`` for images of bytes, else ``"thermometer"``.

    An image is (height, width), or (height, width, 1 or 3), of more than 3 rows and columns.
    """
    image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    return (
        "bytes" if image and np.dtype(dtype) == np.uint8 and min(shape[:2]) > 3 else "thermometer"
    )


def default_network(
    shape: tuple[int, ...],
    outputs: int,
    *,
    encoding: str = "thermometer",
    bits: int = 8,
    categories: int = 16,
    hidden: Sequence[int] = (256,),
    dropout: float = 0.2,
    real_outputs: bool = False,
) -> Sequential:
    """A network whose hidden layers have weights and values of -1 and +1; `pack` takes it.

    .. code-block:: text

        table (features,)             code, then [Dense, BatchNorm, sign] for each hidden layer
        signal (length, channels)     code, two Conv1D with sign, then the same
        image, bytes, from 16 pixels  Rescale, two Conv2D with pooling and sign, then the same
        smaller images, bytes         Rescale, then the same on all pixels
        the end                       Dense with binary weights and BatchNorm; real for numbers

    Args:
        shape: of one sample.
        outputs: the number of classes, or of numbers; 1 for two classes with one output.
        encoding: ``"thermometer"`` (thresholds at quantiles), ``"uniform"`` (at equal distances),
            ``"one-hot"`` (categories, whole numbers), or ``"bytes"`` (pixels as they are).
        bits: of the thermometers, for each number.
        categories: the largest number of categories of a feature, for ``"one-hot"``.
        hidden: the width of each hidden layer.
        dropout: of the hidden signs.
        real_outputs: whether the last layer has real weights, as numbers need.

    Raises:
        ValueError: for another encoding or shape.
    """
    if encoding not in ENCODINGS:
        raise ValueError(
            f"default_network: expected an encoding, {', '.join(ENCODINGS)}, got {encoding!r}"
        )
    if not 1 <= len(shape) <= 3:
        raise ValueError(
            f"default_network: expected samples of one to three axes, got {shape}; use "
            "x.reshape(len(x), -1)"
        )
    layers, n = _front(shape, encoding, bits, categories)
    for width in hidden:
        width = integer("default_network", "hidden", width, least=1)
        layers += [Dense(n, width, **binary()), BatchNorm(width), Activation(SignSTE(clip=1.0))]
        layers += [Dropout(dropout)] * (dropout > 0)
        n = width
    if real_outputs:
        return Sequential(*layers, Dense(n, outputs))
    return Sequential(*layers, Dense(n, outputs, **binary()), BatchNorm(outputs))


def default_plan(samples: int) -> Plan:
    """The training of a default network on so many samples: about as many steps for all of them."""
    batch = min(32 if samples < 10_000 else 100, max(1, samples // 2))
    epochs = min(MOST_EPOCHS, max(5, math.ceil(STEPS * batch / samples)))
    return Plan(epochs, batch, 0.01)


def default_recipe(
    shape: tuple[int, ...],
    outputs: int,
    samples: int,
    *,
    encoding: str = "thermometer",
    numbers: bool = False,
    **network: Any,
) -> Recipe:
    """A default network with its training, as a recipe.

    Args:
        shape: of one sample.
        outputs: the number of classes, or of numbers.
        samples: to train on.
        encoding: see `default_network`.
        numbers: whether the targets are numbers, so that the loss is the squared error.
        network: other arguments of `default_network`.

    Raises:
        ValueError: as from `default_network`.

    >>> default_recipe((4,), 3, 120, hidden=(64,)).batch_size
    32
    """

    def build() -> Sequential:
        return default_network(shape, outputs, encoding=encoding, real_outputs=numbers, **network)

    build()  # errors come now, not in the training
    plan = default_plan(samples)
    loss = MeanSquaredError if numbers else LogitCrossEntropy
    return Recipe("default", build, plan.epochs, plan.batch_size, plan.learning_rate, loss=loss)


def binary() -> dict[str, Any]:
    """The arguments of a layer with binary weights that batch norm follows."""
    return {"bias": False, "weight_quantizer": SignSTE(), "weight_init": Uniform(),
            "weight_bound": 1.0}  # fmt: skip


def _front(
    shape: tuple[int, ...], encoding: str, bits: int, categories: int
) -> tuple[list[Layer], int]:
    """The layers in front of the hidden ones, and the number of values that they give."""
    layers: list[Layer] = []
    if encoding == "bytes":
        layers.append(Rescale(2 / 255, -1))
    else:
        n = shape[-1]
        code = (
            OneHotCode(n, categories)
            if encoding == "one-hot"
            else Thermometer(n, bits, "uniform" if encoding == "uniform" else "quantile")
        )
        layers.append(code)
        shape = (*shape[:-1], n * (categories if encoding == "one-hot" else bits))
    if encoding == "bytes" and len(shape) > 1 and min(shape[:2]) >= LARGE:
        return _images(layers, shape)
    if encoding != "bytes" and len(shape) == 2 and shape[0] >= LARGE:
        return _signals(layers, shape)
    if len(shape) > 1:
        layers.append(Flatten())
    return layers, math.prod(shape)


def _images(layers: list[Layer], shape: tuple[int, ...]) -> tuple[list[Layer], int]:
    height, width, depth = *shape[:2], math.prod(shape[2:])
    if len(shape) == 2:
        layers.append(Reshape((height, width, 1)))
    for channels in (32, 64):
        conv = Conv2D(depth, channels, 3, **binary())
        layers += [conv, MaxPool2D(2), BatchNorm(channels), Activation(SignSTE(clip=1.0))]
        height, width, depth = (height - 2) // 2, (width - 2) // 2, channels
    layers.append(Flatten())
    return layers, height * width * depth


def _signals(layers: list[Layer], shape: tuple[int, ...]) -> tuple[list[Layer], int]:
    length, depth = shape
    for channels, stride in ((32, 2), (32, 2)):
        conv = Conv1D(depth, channels, 5, stride=stride, **binary())
        layers += [conv, BatchNorm(channels), Activation(SignSTE(clip=1.0))]
        length, depth = (length - 5) // stride + 1, channels
    layers.append(Flatten())
    return layers, length * depth
