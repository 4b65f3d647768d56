"""Losses: the error of a batch of outputs, and its gradient."""

from minibnn.losses.base import Loss
from minibnn.losses.binary import BinaryCrossEntropy
from minibnn.losses.cross_entropy import LogitCrossEntropy
from minibnn.losses.elementwise import TargetLoss, ValueLoss
from minibnn.losses.labels import check_class_labels, check_probabilities
from minibnn.losses.margins import Hinge, SquaredHinge
from minibnn.losses.regression import Huber, MeanSquaredError
from minibnn.losses.task import Metric, Task
from minibnn.losses.tasks import BinaryClassification, Classification, MultiLabel, Regression

__all__ = [
    "BinaryClassification",
    "BinaryCrossEntropy",
    "Classification",
    "Hinge",
    "Huber",
    "LogitCrossEntropy",
    "Loss",
    "MeanSquaredError",
    "Metric",
    "MultiLabel",
    "Regression",
    "SquaredHinge",
    "TargetLoss",
    "Task",
    "ValueLoss",
    "check_class_labels",
    "check_probabilities",
]
