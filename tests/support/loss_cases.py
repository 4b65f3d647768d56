"""The losses, and a small batch for numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Hinge,
    LogitCrossEntropy,
    MeanSquaredError,
    SquaredHinge,
)

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
