"""Gradient checks, also for layers whose backward is not a derivative."""

from minibnn.gradcheck.check import check_gradients
from minibnn.gradcheck.report import GradientReport, GradientResult

__all__ = ["GradientReport", "GradientResult", "check_gradients"]
