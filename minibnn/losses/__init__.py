"""Losses: the error of a batch of outputs, and its gradient."""

from minibnn.losses.base import Loss
from minibnn.losses.cross_entropy import LogitCrossEntropy
from minibnn.losses.labels import check_class_labels, check_probabilities
from minibnn.losses.margins import Hinge, MeanSquaredError, SquaredHinge, TargetLoss

__all__ = [
    "Hinge",
    "LogitCrossEntropy",
    "Loss",
    "MeanSquaredError",
    "SquaredHinge",
    "TargetLoss",
    "check_class_labels",
    "check_probabilities",
]
