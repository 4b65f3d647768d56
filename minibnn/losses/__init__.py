"""Losses: the error of a batch of outputs, and its gradient."""

from minibnn.losses.base import Loss
from minibnn.losses.binary import BinaryCrossEntropy
from minibnn.losses.chosen_metrics import F1, R2, BalancedAccuracy
from minibnn.losses.cross_entropy import LogitCrossEntropy
from minibnn.losses.elementwise import TargetLoss, ValueLoss
from minibnn.losses.labels import check_class_labels, check_probabilities
from minibnn.losses.margins import Hinge, SquaredHinge
from minibnn.losses.metrics import Accuracy, LabelAccuracy, MeanAbsoluteError
from minibnn.losses.regression import Huber, MeanSquaredError
from minibnn.losses.task import Metric, Task
from minibnn.losses.tasks import BinaryClassification, Classification, MultiLabel, Regression

__all__ = [
    "F1",
    "R2",
    "Accuracy",
    "BalancedAccuracy",
    "BinaryClassification",
    "BinaryCrossEntropy",
    "Classification",
    "Hinge",
    "Huber",
    "LabelAccuracy",
    "LogitCrossEntropy",
    "Loss",
    "MeanAbsoluteError",
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
