"""Labels as rows: one-hot, smoothed, weighted."""

from __future__ import annotations

import numpy as np

from minibnn import LogitCrossEntropy
from minibnn.losses.label_rows import probabilities, smoothed, weighted_rows

LABELS = np.array([2, 0])


def test_rows_of_labels(backend):
    rows = backend.to_host(probabilities(backend.asarray(LABELS), 3, np.float32))
    assert (rows.tolist(), rows.dtype) == ([[0, 0, 1], [1, 0, 0]], np.float32)
    given = np.full((2, 2), 0.5)
    assert probabilities(given, 2, np.float64) is given


def test_smoothing():
    rows = np.eye(2)
    assert smoothed(rows, 0.0, np.float64) is rows
    np.testing.assert_allclose(smoothed(rows, 0.2, np.float64), [[0.9, 0.1], [0.1, 0.9]])


def test_weights(backend):
    """w N / sum(w): 3 * 2 / 4 and 1 * 2 / 4 times the smoothed rows."""
    logits, labels = backend.asarray(np.zeros((2, 2))), backend.asarray(np.array([1, 0]))
    w = backend.asarray(np.array([3.0, 1.0]))
    rows = weighted_rows(LogitCrossEntropy(), logits, labels, 0.2, w)
    expected = [[1.5 * 0.1, 1.5 * 0.9], [0.5 * 0.9, 0.5 * 0.1]]
    np.testing.assert_allclose(backend.to_host(rows), expected, rtol=1e-12)
