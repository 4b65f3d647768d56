"""Labels as rows: one-hot, smoothed, weighted."""

from __future__ import annotations

import numpy as np

from minibnn.losses.label_rows import probabilities, smoothed

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
