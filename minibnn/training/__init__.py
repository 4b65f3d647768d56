"""Training and evaluation."""

from minibnn.training.confusion import confusion_matrix
from minibnn.training.evaluate import Metrics, evaluate
from minibnn.training.fit import DivergedError, fit

__all__ = ["DivergedError", "Metrics", "confusion_matrix", "evaluate", "fit"]
