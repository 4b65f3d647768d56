"""Elementwise functions: activations, and quantizers with their surrogate gradients."""

from minibnn.functions.activations import HardTanh, Identity, ReLU, Sigmoid, Tanh
from minibnn.functions.base import Function
from minibnn.functions.quantizers import SignSTE

__all__ = ["Function", "HardTanh", "Identity", "ReLU", "Sigmoid", "SignSTE", "Tanh"]
