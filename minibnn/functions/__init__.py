"""Elementwise functions: activations, and quantizers with their surrogate gradients."""

from minibnn.functions.activations import HardTanh, Identity, ReLU, Sigmoid, Tanh
from minibnn.functions.base import Function
from minibnn.functions.levels import (
    DoReFaActivations,
    DoReFaWeights,
    Heaviside,
    Ternary,
    TernaryWeights,
)
from minibnn.functions.magnitude_aware_sign import MagnitudeAwareSign
from minibnn.functions.power_of_two import PowerOfTwo
from minibnn.functions.shaped_signs import AdaSTE, ApproxSign, SwishSign
from minibnn.functions.signs import SignSTE, StraightThrough, sign
from minibnn.functions.stochastic_sign import StochasticSign
from minibnn.functions.values import activation_bits, weight_bits, weight_levels

__all__ = [
    "AdaSTE",
    "ApproxSign",
    "DoReFaActivations",
    "DoReFaWeights",
    "Function",
    "HardTanh",
    "Heaviside",
    "Identity",
    "MagnitudeAwareSign",
    "PowerOfTwo",
    "ReLU",
    "Sigmoid",
    "SignSTE",
    "StochasticSign",
    "StraightThrough",
    "SwishSign",
    "Tanh",
    "Ternary",
    "TernaryWeights",
    "activation_bits",
    "sign",
    "weight_bits",
    "weight_levels",
]
