"""Layers: each with its forward and its backward written out."""

from minibnn.layers.activation import Activation
from minibnn.layers.base import Layer
from minibnn.layers.dense import Dense
from minibnn.layers.norm import BatchNorm
from minibnn.layers.reshape import Flatten, Rescale
from minibnn.layers.sequential import Sequential

__all__ = ["Activation", "BatchNorm", "Dense", "Flatten", "Layer", "Rescale", "Sequential"]
