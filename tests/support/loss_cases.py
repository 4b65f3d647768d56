"""The losses, and a small batch for numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    BinaryCrossEntropy,
    Hinge,
    Huber,
    LogitCrossEntropy,
    Loss,
    MeanSquaredError,
    SquaredHinge,
)
from minibnn.backend import backend_of

LOGITS = np.array([[1.0, 2.0, 3.0], [0.5, -0.5, 0.0]])


LABELS = np.array([2, 1])


# Losses of classes alone; the squared error takes classes, too.
CLASS_LOSSES = [
    LogitCrossEntropy(),
    LogitCrossEntropy(label_smoothing=0.3),
    Hinge(),
    SquaredHinge(),
]


LOSSES = [*CLASS_LOSSES, MeanSquaredError()]


every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)


class Weighted(Loss):
    """A loss with weights that belong to its batch, for what takes a loss without them."""

    def __init__(self, loss, weights):
        self.loss, self.weights = loss, weights

    def forward(self, outputs, targets):
        return self.loss.weighted_forward(outputs, targets, self.weights)

    def backward(self):
        return self.loss.backward()


class OwnLoss(Loss):
    """A user's loss with forward and backward alone: the mean of ``|y - t| + y^2 / 2``."""

    def forward(self, y, t):
        xp = backend_of(y).xp
        self.saved = xp.sign(y - t.reshape(y.shape)) + y
        return (abs(y - t.reshape(y.shape)) + y * y / 2).mean()

    def backward(self):
        slopes = self.take_saved()
        return slopes / slopes.size


def numbers(loss, shape, rng, dtype=np.float32):
    """Outputs of this shape, and targets that a loss of numbers or of labels 0 and 1 takes."""
    outputs = (rng.standard_normal(shape) * 2).astype(dtype)
    if isinstance(loss, BinaryCrossEntropy):
        return outputs, rng.integers(0, 2, shape)
    return outputs, (rng.standard_normal(shape) * 2).astype(dtype)


VALUE_LOSSES = [BinaryCrossEntropy(), MeanSquaredError(), Huber(), Huber(delta=0.3)]


every_value_loss = pytest.mark.parametrize("loss", VALUE_LOSSES, ids=repr)
