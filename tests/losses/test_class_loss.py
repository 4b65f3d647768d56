"""Losses for classes have one task."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import CLASS_LOSSES

from minibnn.losses import Classification
from minibnn.losses.class_loss import ClassLoss


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=repr)
def test_the_task_is_classification(loss):
    assert isinstance(loss, ClassLoss)
    for targets in (None, np.array([0, 2]), np.eye(3)[:2]):
        task = loss.task(np.zeros((1, 3)), targets)
        assert (type(task), task.classes) == (Classification, 3)
    name = type(loss).__name__
    with pytest.raises(ValueError, match=rf"^{name}, labels: expected labels in 0\.\.2, got 3"):
        loss.task(np.zeros((1, 3)), np.array([0, 3]))
    with pytest.raises(ValueError, match=r"^fit: train, labels: expected labels in 0\.\.2"):
        loss.task(np.zeros((1, 3)), np.array([0, 3]), "fit: train")
