"""Layers, each with an explicit forward and backward."""

from minibnn.layers.activation import Activation
from minibnn.layers.base import Layer
from minibnn.layers.branches import Concatenate, Residual
from minibnn.layers.conv import Conv2D
from minibnn.layers.conv1d import Conv1D
from minibnn.layers.dense import Dense
from minibnn.layers.direct_feedback import DirectFeedback
from minibnn.layers.dropout import Dropout
from minibnn.layers.norm import BatchNorm, TensorNorm
from minibnn.layers.pooling import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from minibnn.layers.prelu import PReLU
from minibnn.layers.radial import Radial
from minibnn.layers.reshape import Flatten, Rescale, Reshape
from minibnn.layers.sequential import Sequential
from minibnn.layers.shift_norm import ShiftBatchNorm

__all__ = [
    "Activation",
    "AveragePool2D",
    "BatchNorm",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Dense",
    "DirectFeedback",
    "Dropout",
    "Flatten",
    "GlobalAveragePool2D",
    "Layer",
    "MaxPool2D",
    "PReLU",
    "Radial",
    "Rescale",
    "Reshape",
    "Residual",
    "Sequential",
    "ShiftBatchNorm",
    "TensorNorm",
]
