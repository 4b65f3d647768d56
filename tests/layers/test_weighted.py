"""What layers with a weight have in common: quantizer, feedback, buffers."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    BatchNorm,
    Blocked,
    Dense,
    Feedback,
    FixedFeedback,
    SignSTE,
)
from minibnn.layers.weighted import Weighted


def test_a_binary_layer_reads_as_one():
    layer = Dense(
        3, 2, weight_quantizer=SignSTE(), feedback=Blocked(), bias=False, weight_bound=1.0
    )
    assert str(layer) == "Dense(3 -> 2)"
    assert repr(layer) == (
        "Dense(3 -> 2, weight_quantizer=SignSTE(clip=None), feedback=Blocked(), bias=False, "
        "weight_bound=1.0)"
    )


def test_feedback_of_the_wrong_shape_is_named():
    class Turned(Feedback):
        def backward_weights(self, W):
            return W.T

    model = Dense(3, 2, feedback=Turned()).initialize(0)
    model.forward(np.ones((1, 3), np.float32), train=True)
    with pytest.raises(
        ValueError, match=r"expected Turned\(\) to give weights of shape \(3, 2\), got"
    ):
        model.backward(np.ones((1, 2), np.float32))


def test_a_dense_of_ones_own_keeps_its_buffers():
    class Counting(Dense):
        def __init__(self):
            super().__init__(3, 2, feedback=FixedFeedback())
            self.norm = BatchNorm(2)

    names = [b.name for b in Counting().buffers()]
    assert names == ["running_mean", "running_var", "feedback"]


def test_a_layer_of_ones_own_declares_its_weight():
    class Diagonal(Weighted):
        def __init__(self):
            options = {"init": None, "bound": 1.0, "lr_scale": 2.0}
            self.set_weights((1, 4), quantizer=SignSTE(), feedback=None, bias=True, **options)

        def forward(self, x, *, train=False):
            return x * self.quantized_weight(train) + self.bias.data

        def backward(self, dy, *, need_dx=True):
            raise NotImplementedError

    layer = Diagonal().initialize(0)
    assert [p.name for p in layer.parameters()] == ["weight", "bias"]
    assert (layer.weight.bound, layer.weight.lr_scale) == (1.0, 2.0)
    assert [name for name, *_ in layer.named_quantized()] == ["weight"]
    assert abs(layer.forward(np.ones((1, 4), np.float32))).tolist() == [[1.0] * 4]
