"""The base class of losses for classes."""

from __future__ import annotations

from minibnn.backend import Array
from minibnn.losses.base import Loss
from minibnn.losses.task import Task
from minibnn.losses.tasks import classification


class ClassLoss(Loss):
    """A loss for classes: it has an output for each, and takes labels or rows of probabilities."""

    def task(self, outputs: Array, targets: Array | None = None, who: str = "") -> Task:
        """One class a sample; the greatest output is the prediction."""
        return classification(who or type(self).__name__, outputs, targets)
