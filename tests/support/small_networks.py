"""A quantizer of any width and a small network, for the tests of sizes and costs."""

from __future__ import annotations

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    FixedFeedback,
    Flatten,
    Function,
    ReLU,
    Rescale,
    Sequential,
    SignSTE,
)


class Levels(Function):
    """So many levels that one takes `n` bits, and a scale for each output."""

    def __init__(self, n, scaled=False):
        self.n = n
        self.scaled = scaled

    def forward(self, x):
        return (x.clip(0, 1) * (2**self.n - 1)).round()

    def backward(self, dy, x):
        return dy

    def shipped_floats(self, shape):
        return shape[-1] if self.scaled else 0


def net():
    """Binary, mixed and float products, a bias, batch norm, feedback weights."""
    return Sequential(
        Flatten(),
        Rescale(0.5),
        Dense(15, 7, weight_quantizer=SignSTE(), bias=False),
        BatchNorm(7),
        Activation(SignSTE(clip=1.0)),
        Dense(7, 5, weight_quantizer=SignSTE(), feedback=FixedFeedback()),
        Activation(ReLU()),
        Dense(5, 3),
    )
