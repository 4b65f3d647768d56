"""What is measured after which epoch, and where it stands in the history."""

from __future__ import annotations

import math

import numpy as np
import pytest
from clusters import binary_model, clusters

from minibnn import Accuracy, DataLoader, LogitCrossEntropy, evaluate
from minibnn.losses import Classification
from minibnn.training.evaluate import StoppedError
from minibnn.training.evaluations import Evaluations

TRAIN, OTHERS = DataLoader(clusters(90, 1), 32), DataLoader(clusters(50, 3), 20)


def evaluations(evaluate_train=1, metrics=None, **others):
    metrics = [Accuracy()] if metrics is None else metrics
    data = {"train": TRAIN, **others}
    task = Classification(3)
    return Evaluations(binary_model(), LogitCrossEntropy(), task, metrics, data, evaluate_train)


@pytest.mark.parametrize(
    ("every", "columns", "due"),
    [
        (1, ["loss_train", "loss_test", "acc_train", "acc_test"], ["train", "test"] * 3),
        (2, ["loss", "loss_train", "loss_test", "acc_train", "acc_test"],
         ["test", "train", "test", "test"]),
        (None, ["loss", "loss_test", "acc_test"], ["test"] * 3),
    ],
)  # fmt: skip
def test_columns_and_when_they_are_due(every, columns, due):
    found = evaluations(every, test=OTHERS)
    assert found.columns == columns
    assert [name for epoch in (1, 2, 3) for name in found.due(epoch)] == due


def test_a_row_has_what_was_measured():
    found = evaluations(2, validation=OTHERS)
    model = found.model
    train, others = (evaluate(model, d, LogitCrossEntropy()) for d in (TRAIN, OTHERS))
    for epoch in (1, 2):
        values = np.concatenate(found.measure(epoch, None)).tolist()
        row = dict(zip(found.columns, found.row(epoch, [*values, 1, 0.5], [2, 4]), strict=True))
        assert row["loss"] == 3
        assert (row["loss_validation"], row["acc_validation"]) == pytest.approx(tuple(others))
        if epoch == 1:
            assert math.isnan(row["loss_train"])
            assert math.isnan(row["acc_train"])
        else:
            assert (row["loss_train"], row["acc_train"]) == pytest.approx(tuple(train))


def test_nothing_is_due():
    found = evaluations(None)
    assert (found.columns, found.measure(1, None)) == (["loss"], [])
    assert found.row(1, [1.0], [0.5]) == [0.5]
    assert found.loss_not_finite(1, [1.0]) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_that_are_not_finite_are_found_and_metrics_may_be(bad):
    found = evaluations(test=OTHERS)
    assert found.loss_not_finite(1, [0.5, bad, 0.5, bad, 1.0]) is None
    for values in ([bad, 1, 0.5, 1, 1.0], [0.5, 1, bad, 1, 1.0]):
        assert not math.isfinite(found.loss_not_finite(1, values))
    # behind them is whether the parameters are finite, and the flips
    assert found.loss_not_finite(1, [0.5, 1, 0.5, 1, bad, bad]) is None


def test_it_can_be_stopped():
    with pytest.raises(StoppedError):
        evaluations().measure(1, lambda: True)


@pytest.mark.parametrize("every", [0, -1, True, 1.5, "1"])
def test_refused(every):
    with pytest.raises((TypeError, ValueError), match="expected evaluate_train "):
        evaluations(every)
