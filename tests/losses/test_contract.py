"""What training asks of a user's loss that has forward and backward alone."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import OwnLoss

from minibnn import Loss
from minibnn.losses import Classification, Task
from minibnn.losses.contract import LossContract


def test_targets_are_allowed_whatever_they_are():
    assert issubclass(Loss, LossContract)
    own = OwnLoss()
    for targets in (np.array(["a", "b"]), np.full((2, 7), np.nan), np.array([-5, 900])):
        assert type(own.task(np.zeros((1, 3)), targets, "who")) is Task
    assert own.task(np.zeros((1, 3)), np.array([2, 0])).classes == 3
    assert type(own.task(np.zeros((1, 3)))) is Task  # nothing is known of its outputs


class WeightedOwn(OwnLoss):
    def forward(self, y, t, weights=None):
        value = super().forward(y, t)
        if weights is None:
            return value
        self.saved = (weights / weights.sum()).reshape(y.shape) * (self.saved)
        return (weights.reshape(y.shape) * abs(y - t.reshape(y.shape))).sum() / weights.sum()


def test_weights_are_passed_on_by_name():
    own, y, t = WeightedOwn(), np.ones((2, 1)), np.zeros(2)
    assert own.takes_weights
    assert own.weighted_forward(y, t, None) == 1.5
    assert own.weighted_forward(y, t, np.array([1.0, 3])) == 1.0


def test_any_forward_with_weights_will_do():
    class ByKeyword(OwnLoss):
        def forward(self, y, t, *, scale=1.0, weights=None):
            return "weighted" if weights is not None else super().forward(y, t)

    assert ByKeyword().weighted_forward(np.ones((2, 1)), np.zeros(2), np.ones(2)) == "weighted"


def test_a_task_of_its_own():
    class Ordinal(OwnLoss):
        def task(self, outputs, targets=None, who=""):
            if targets is not None and targets.max() > outputs.shape[1]:
                raise ValueError(f"{who}: too many levels")
            return Classification(outputs.shape[1] + 1)

    assert Ordinal().task(np.zeros((1, 2)), np.array([0, 2])).classes == 3
    with pytest.raises(ValueError, match="fit: train: too many levels"):
        Ordinal().task(np.zeros((1, 2)), np.array([0, 3]), "fit: train")
