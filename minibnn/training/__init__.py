"""Training and evaluation."""

from minibnn.training.evaluate import Metrics, evaluate
from minibnn.training.fit import DivergedError, fit

__all__ = ["DivergedError", "Metrics", "evaluate", "fit"]
