"""Labels and logits that a loss refuses."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import LABELS, LOGITS, every_loss

from minibnn import (
    LogitCrossEntropy,
)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 3], ValueError, r"expected labels in 0\.\.2, got 3"),
        ([0, -1], ValueError, r"expected labels in 0\.\.2, got -1"),
        ([0, 1, 2], ValueError, r"expected labels of shape \(2,\) or \(2, 3\), got \(3,\)"),
        ([0.0, 1.0], TypeError, "expected integer labels"),
        ([[0.5, 0.5, 0.5], [1, 0, 0]], ValueError, "expected rows of probabilities"),
        ([[0.5, 0.55, 0], [1, 0, 0]], ValueError, "expected rows of probabilities"),
        (
            [[0], [1]],
            ValueError,
            r"expected labels of shape \(batch,\), got \(2, 1\); use labels.ravel",
        ),
        ([[1.5, -0.5, 0], [1, 0, 0]], ValueError, "expected rows of probabilities"),
    ],
)
@every_loss
def test_bad_labels(loss, labels, error, message):
    with pytest.raises(error, match=f"{type(loss).__name__}: {message}"):
        loss.forward(LOGITS, np.array(labels))


def test_bad_logits():
    with pytest.raises(
        ValueError, match=r"expected logits of shape \(batch, classes\), got \(3,\)"
    ):
        LogitCrossEntropy().forward(LOGITS[0], LABELS)


def test_empty_batch():
    with pytest.raises(
        ValueError, match=r"expected logits of shape \(batch, classes\), got \(0, 3\)"
    ):
        LogitCrossEntropy().forward(LOGITS[:0], LABELS[:0])


@every_loss
def test_labels_on_another_device(loss, device):
    with pytest.raises(TypeError, match="expected labels on the logits' device"):
        loss.forward(device.asarray(LOGITS), LABELS)
