"""Errors for arrays that cannot enter a layer, and their hints."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    Layer,
    ReLU,
    Rescale,
)
from minibnn.layers.input_errors import dtype_hint

X = np.zeros((64, 28, 28), np.float32)

FLAT = X.reshape(64, -1)


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (Dense(784, 128), X, ValueError, r"^Dense\(784 -> 128\): expected x of shape \(batch, 784\), got \(64, 28, 28\); put Flatten\(\) first$"),
        (Dense(784, 128), FLAT[:, :5], ValueError, r"expected x of shape \(batch, 784\), got \(64, 5\)$"),
        (Dense(784, 128), FLAT[0], ValueError, r"expected x of shape \(batch, 784\), got \(784,\); for a single sample use x\[None\]$"),
        (Dense(784, 128), FLAT.astype(np.uint8), TypeError, r"expected x of dtype float32, got uint8; put Rescale\(1 / 255\) first"),
        (Dense(784, 128), FLAT.astype(np.float64), TypeError, r"got float64; use x.astype\('float32'\) or model.to\(dtype='float64'\)"),
        (Dense(784, 128), FLAT.tolist(), TypeError, "expected a NumPy or CuPy array, got list"),
        (BatchNorm(784), FLAT[:1], ValueError, r"BatchNorm\(784\): expected at least 2 values a channel"),
        (BatchNorm(10), FLAT, ValueError, r"BatchNorm\(10\): expected x of shape \(batch, \.\.\., 10\)"),
        (Flatten(), FLAT.tolist(), TypeError, "expected a NumPy or CuPy array, got list"),
        (Rescale(2.0), FLAT.tolist(), TypeError, "expected a NumPy or CuPy array, got list"),
        (Rescale(2.0), FLAT.astype(np.float64), TypeError, "expected x of dtype float32, got float64"),
        (Dense(28, 10), X, ValueError, r"expected x of shape \(batch, 28\), got \(64, 28, 28\); put Flatten\(\) first, and give the layer 784 inputs$"),
        (Flatten(), FLAT[0], ValueError, r"Flatten\(\): expected x of shape \(batch, ...\), got \(784,\)"),
        (Activation(ReLU()), FLAT.astype(np.int64), TypeError, r"Activation\(ReLU\(\)\): expected x of dtype float32, got int64"),
    ],
)  # fmt: skip
def test_bad_input(layer, x, error, message):
    with pytest.raises(error, match=message):
        layer.initialize(0).forward(x, train=True)


def test_host_array_meets_device_model(device):
    model = Dense(784, 8).initialize(0).to(device)
    with pytest.raises(TypeError, match=f"expected x on its own device, {device.name}, got .* cpu"):
        model.forward(FLAT)


@pytest.mark.parametrize(
    ("saved", "got"),
    [
        (lambda x: x, "ndarray"),
        (lambda x: x.shape, "tuple of int, int"),
        (lambda x: (x,), "tuple of ndarray"),
        (lambda x: (x, x.shape), "tuple of ndarray, tuple"),
        (lambda x: [x], "list of ndarray"),
        (lambda x: {"x": x}, "dict"),
        (lambda x: (), "tuple of nothing"),
        (lambda x: True, "bool"),
    ],
)
def test_another_saved_than_a_shape_and_what_backward_needs(saved, got):
    class Own(Layer):
        def forward(self, x, *, train=False):
            self.saved = saved(x)
            return x

        def backward(self, dy, *, need_dx=True):
            self.take_saved(dy)
            return dy

    layer, x = Own().initialize(0), np.ones((2, 3), np.float32)
    layer.forward(x, train=True)
    expected = (
        rf"Own\(\): expected forward to leave a tuple in self.saved, .*, got {got}; "
        r"write self.saved = \(y.shape, x\)"
    )
    with pytest.raises(TypeError, match=expected):
        layer.backward(x)


def test_bytes_are_told_to_become_floats():
    with pytest.raises(TypeError, match="Rescale"):
        Conv2D(1, 2, 3).initialize(0).forward(np.zeros((2, 5, 5, 1), np.uint8))


@pytest.mark.parametrize(
    ("got", "wanted", "hint"),
    [
        ("float64", "float32", "; use x.astype('float32') or model.to(dtype='float64')"),
        ("float16", "float32", "; use x.astype('float32')"),
        ("bool", "float64", "; put Rescale(1 / 255) first if these are pixels, else use x.astype('float64')"),
        ("complex64", "float32", ""),
    ],
)  # fmt: skip
def test_how_to_get_from_one_dtype_to_another(got, wanted, hint):
    assert dtype_hint(np.dtype(got), np.dtype(wanted)) == hint
