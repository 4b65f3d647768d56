"""The default values, which decide what a model learns."""

from __future__ import annotations

import inspect

import pytest

import minibnn
from minibnn import Dropout, Fill, Function, Layer, Loss, Optimizer, Rescale, Uniform
from minibnn.recipes import RECIPES

# From papers and their code, see each docstring. Without this test a change would go unnoticed.
DEFAULTS = {
    "Adam": {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "AdaMax": {"learning_rate": 2e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "AdamW": {
        "learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01,
    },
    "BatchNorm": {"momentum": 0.9, "epsilon": 1e-5},
    "Bop": {"threshold": 1e-8, "gamma": 1e-4},
    "Conv1D": {
        "stride": 1, "padding": 0, "padding_value": 0.0, "dilation": 1, "groups": 1, "lr_scale": 1.0,
    },
    "Conv2D": {
        "stride": 1, "padding": 0, "padding_value": 0.0, "dilation": 1, "groups": 1, "lr_scale": 1.0,
    },
    "Dense": {"lr_scale": 1.0},
    "DoReFaActivations": {"bits": 2},
    "DoReFaWeights": {"bits": 2},
    "Fill": {"value": 0.0},
    "Heaviside": {"clip": 1.0},
    "Huber": {"delta": 1.0},
    "LogitCrossEntropy": {"label_smoothing": 0.0},
    "MagnitudeAwareSign": {"clip": 1.0},
    "Radial": {"lr_scale": 1.0},
    "Rescale": {"offset": 0.0},
    "SGD": {"momentum": 0.0},
    "ShiftAdaMax": {
        "learning_rate": 2**-10, "beta1": 1 - 2**-3, "beta2": 1 - 2**-10, "epsilon": 2**-27,
    },
    "ShiftBatchNorm": {"momentum": 0.875, "epsilon": 1e-5},
    "SwishSign": {"beta": 5.0},
    "TensorNorm": {"momentum": 0.9, "epsilon": 1e-4},
    "Ternary": {"threshold": 0.05, "clip": 1.0},
    "TernaryWeights": {"clip": 1.0},
    "Uniform": {"low": -1.0, "high": 1.0},
}  # fmt: skip


def numbers(kind: type) -> dict[str, float]:
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if type(p.default) in (int, float)}


def test_every_default_that_is_a_number():
    kinds = [
        value
        for name in minibnn.__all__
        if inspect.isclass(value := getattr(minibnn, name))
        and issubclass(value, Layer | Function | Optimizer | Loss | Fill | Uniform)
    ]
    assert {k.__name__: numbers(k) for k in kinds if numbers(k)} == DEFAULTS


# Epochs, batch size, first learning rate, images held out, dropout from the input on, and the shift
# of pixels before a sign. `benchmarks/choose.py` chose those of minibnn; README has their accuracy.
SETTINGS = {
    "seed": (10, 64, 3e-4, 0, [], 0),
    "modern": (10, 100, 5e-3, 0, [], -1),
    "feedback-alignment": (10, 100, 5e-3, 0, [], -1),
    "direct-feedback": (10, 100, 5e-3, 0, [], -1),
    "finn-tfc": (100, 100, 2e-3, 0, [], -64),
    "finn-sfc": (100, 100, 2e-3, 0, [0.1], -64),
    "finn-lfc": (30, 100, 1e-3, 0, [0.2], -64),
    "finn-tfc-8bit": (100, 100, 2e-3, 0, [], -1),
    "finn-sfc-8bit": (50, 100, 2e-3, 0, [0.1], -1),
    "finn-lfc-8bit": (30, 100, 1e-3, 0, [0.2], -1),
    "binarynet": (1000, 100, 3e-3, 10_000, [0.2, 0.5, 0.5, 0.5], -1),
    "binaryconnect": (250, 100, 1e-3, 10_000, [], -1),
    "larq-cnn": (6, 100, 5e-3, 0, [], -1),
    "bi-real": (10, 100, 1e-2, 0, [], -1),
}


def leaves(layer: Layer) -> list[Layer]:
    return [leaf for child in layer.children() for leaf in leaves(child)] or [layer]


@pytest.mark.parametrize("name", RECIPES)
def test_the_settings_of_each_recipe(name):
    recipe = RECIPES[name]()
    layers = leaves(recipe.build())
    dropout = [layer.rate for layer in layers if isinstance(layer, Dropout)]
    first = next(layer.offset for layer in layers if isinstance(layer, Rescale))
    found = recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.held_out, dropout, first
    assert found == SETTINGS[name]
