"""Elementwise functions: activations, and quantizers with their surrogate gradients."""

from minibnn.functions.activations import HardTanh, Identity, ReLU, Sigmoid, Tanh
from minibnn.functions.base import Function
from minibnn.functions.power_of_two import PowerOfTwo
from minibnn.functions.quantizers import SignSTE

__all__ = ["Function", "HardTanh", "Identity", "PowerOfTwo", "ReLU", "Sigmoid", "SignSTE", "Tanh"]
