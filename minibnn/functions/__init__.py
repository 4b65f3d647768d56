"""Elementwise functions: activations, and quantizers with their surrogate gradients."""

from minibnn.functions.activations import HardTanh, Identity, ReLU, Sigmoid, Tanh
from minibnn.functions.ada_ste import AdaSTE
from minibnn.functions.approx_sign import ApproxSign
from minibnn.functions.base import Function
from minibnn.functions.bit_width import activation_bits, weight_bits, weight_levels
from minibnn.functions.dorefa import DoReFaActivations, DoReFaWeights
from minibnn.functions.heaviside import Heaviside
from minibnn.functions.magnitude_aware_sign import MagnitudeAwareSign
from minibnn.functions.power_of_two import PowerOfTwo
from minibnn.functions.signs import SignSTE, StraightThrough, sign
from minibnn.functions.stochastic_sign import StochasticSign
from minibnn.functions.swish_sign import SwishSign
from minibnn.functions.ternary import Ternary, TernaryWeights

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
