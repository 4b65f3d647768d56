"""`Task` and `Metric`: what a task of unknown targets says, and a metric of a user's own."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import DataLoader, LogitCrossEntropy, Rescale
from minibnn.losses import Classification, Metric, Regression, Task
from minibnn.losses.metrics import Accuracy, MeanAbsoluteError
from minibnn.training.evaluate import device_metrics


def test_a_task_of_unknown_targets_reports_nothing():
    task, y = Task(), np.ones((2, 3))
    assert (task.classes, task.metrics, repr(task)) == (None, (), "Task()")
    assert task.predict(y) is y
    assert task.truth(y) is y
    with pytest.raises(TypeError, match="to count right answers, got one of unknown targets"):
        task.count_right(y, y)


def test_a_metric_is_of_one_kind_of_task():
    assert Accuracy().check(Classification(3), "who") is None
    with pytest.raises(
        TypeError,
        match=r"^who: expected a loss for classes with Accuracy\(\), got one for numbers; use "
        r"MeanAbsoluteError\(\)$",
    ):
        Accuracy().check(Regression(), "who")
    with pytest.raises(TypeError, match=r"got one for unknown targets; override the method task"):
        MeanAbsoluteError().check(Task(), "who")


class ShareOfFirst(Metric):
    """A user's metric for any task: how much of the samples' weight says class 0."""

    name, column = "share_of_first", "first"

    def add(self, sums, task, outputs, targets, weights):
        first = task.predict(outputs) == 0
        sums[0] += first.sum() if weights is None else (weights * first).sum()


def test_a_metric_of_ones_own(backend):
    scores = backend.asarray(np.array([[2, 1], [0, 1], [3, 0]], np.float32))
    labels = backend.asarray(np.array([0, 1, 1]))
    model, data = Rescale(1.0).to(backend), DataLoader((scores, labels), 2)
    metric, task, loss = ShareOfFirst(), Classification(2), LogitCrossEntropy()
    metric.check(task, "who")
    metrics = [Accuracy(), metric]
    got = backend.to_host(device_metrics(model, data, loss, metrics, task))
    assert got[1:].tolist() == [2 / 3, 2 / 3]
    assert repr(metric) == "ShareOfFirst()"
