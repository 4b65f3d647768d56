"""Labels and logits that a loss refuses."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import CLASS_LOSSES, LABELS, LOGITS, every_loss

from minibnn import LogitCrossEntropy
from minibnn.losses.labels import require_integers, require_labels


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
@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=repr)
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


def test_values_are_checked_on_request_only(backend):
    """A device would have to finish its work first."""
    for bad in ([0, 3], [[0.5, 0.5, 0.5], [1, 0, 0]]):
        labels = backend.asarray(np.array(bad))
        require_labels("loss", labels, 2, 3, look=False)
        with pytest.raises(ValueError, match="loss: expected"):
            require_labels("loss", labels, 2, 3, look=True)


def test_whole_numbers_are_converted_and_names_are_numbered():
    require_integers("loss", np.array([0, 1], np.uint8))
    with pytest.raises(TypeError, match=r"got float64; use labels\.astype\('int64'\)"):
        require_integers("loss", np.array([0.0, 1.0]))
    with pytest.raises(TypeError, match=r"numpy\.unique\(labels, return_inverse=True\)"):
        require_integers("loss", np.array(["cat", "dog"]))
