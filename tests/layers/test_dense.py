"""Dense: forward and gradients by hand."""

from __future__ import annotations

import numpy as np

from minibnn import (
    Dense,
    SignSTE,
)


def test_dense_by_hand():
    layer = Dense(2, 2, weight_quantizer=SignSTE()).initialize(0)
    layer.weight.data[...] = [[0.3, -0.2], [-0.0, 5.0]]
    layer.bias.data[...] = [10.0, 20.0]
    x = np.array([[1, 2], [3, -1]], np.float32)
    np.testing.assert_array_equal(layer.forward(x, train=True), [[13, 21], [12, 16]])
    dx = layer.backward(np.array([[1, 2], [0, -1]], np.float32))
    np.testing.assert_array_equal(dx, [[-1, 3], [1, -1]])
    np.testing.assert_array_equal(layer.weight.grad, [[1, -1], [2, 5]])
    np.testing.assert_array_equal(layer.bias.grad, [1, 1])
