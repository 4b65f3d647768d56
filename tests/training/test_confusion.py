"""`confusion_matrix`: every sample counts once, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from minibnn import (
    DataLoader,
    Rescale,
    confusion_matrix,
    one_hot,
)

TRUE = np.array([0, 0, 1, 1, 1, 2, 0])


TOLD = np.array([0, 2, 1, 0, 1, 2, 0])


EXPECTED = [[2, 0, 1], [1, 2, 0], [0, 0, 1]]


@pytest.mark.parametrize("labels", [TRUE, TRUE.astype(np.uint8), one_hot(TRUE, 3)])
def test_counts_by_hand(labels, backend):
    data = DataLoader((one_hot(TOLD, 3), labels), 3, shuffle=True, drop_last=True, rng=0)
    model = Rescale(1.0).to(backend)
    matrix = confusion_matrix(model, data.to(backend))
    assert matrix.to_numpy().tolist() == EXPECTED
    assert (matrix.index.name, matrix.columns.name) == ("true", "predicted")
    assert matrix.loc[0, 2] == 1
    assert set(matrix.dtypes) == {np.dtype(np.int64)}


def test_batches_add_up(monkeypatch):
    monkeypatch.setattr(sys.modules["minibnn.training.confusion"], "EVALUATION_BATCH", 2)
    data = DataLoader((one_hot(TOLD, 3), TRUE), 2)
    assert confusion_matrix(Rescale(1.0), data).to_numpy().tolist() == EXPECTED


def test_more_classes_than_a_byte_holds_pairs_of():
    told = np.arange(40, dtype=np.uint8)
    matrix = confusion_matrix(Rescale(1.0), DataLoader((one_hot(told, 40), told), 7))
    assert (matrix.to_numpy() == np.eye(40)).all()


def test_it_refuses():
    with pytest.raises(TypeError, match="confusion_matrix: data: expected a DataLoader"):
        confusion_matrix(Rescale(1.0), (TOLD, TRUE))
    with pytest.raises(ValueError, match=r"expected labels in 0\.\.2, got 3"):
        confusion_matrix(Rescale(1.0), DataLoader((one_hot(TOLD, 3), TRUE + 1), 3))
