"""Sequential: its errors name the layer, its layers are fixed."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    Flatten,
    Layer,
    Rescale,
    Sequential,
    SignSTE,
)

X = np.zeros((64, 28, 28), np.float32)


def test_an_error_in_a_network_says_which_layer():
    model = Sequential(Flatten(), Dense(784, 8), Dense(9, 2)).initialize(0)
    with pytest.raises(ValueError, match="expected x of shape") as caught:
        model.forward(X)
    assert caught.value.__notes__ == ["in layer 2 of Sequential: Dense(9 -> 2)"]


def test_sequential_reads_like_its_code():
    model = Sequential(Flatten(), Rescale(0.5), Dense(4, 3), BatchNorm(3), Activation(SignSTE(1.0)))
    assert repr(model) == (
        "Sequential(\n    Flatten(),\n    Rescale(0.5),\n    Dense(4 -> 3),\n"
        "    BatchNorm(3),\n    Activation(SignSTE(clip=1.0)),\n)"
    )
    assert len(model) == 5
    assert [name for name, _ in model.named_parameters()] == [
        "2.weight", "2.bias", "3.gamma", "3.beta",
    ]  # fmt: skip


def test_a_layer_that_forgets_to_return_dx_is_named():
    class Forgetful(Layer):
        def forward(self, x, *, train=False):
            return x

        def backward(self, dy, *, need_dx=True):
            pass

    model = Sequential(Dense(3, 3), Forgetful()).initialize(0)
    model.forward(np.ones((1, 3), np.float32), train=True)
    with pytest.raises(TypeError, match=r"Forgetful\(\): expected backward to return dx, got None"):
        model.backward(np.ones((1, 3), np.float32))


def test_the_layers_of_a_sequential_are_fixed():
    model = Sequential(Dense(3, 2))
    with pytest.raises(AttributeError):
        model.layers = (Flatten(), *model.layers)
