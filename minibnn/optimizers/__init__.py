"""Optimisers: they update every parameter from its gradient."""

from minibnn.optimizers.adam import Adam
from minibnn.optimizers.adamax import AdaMax, ShiftAdaMax
from minibnn.optimizers.adamw import AdamW
from minibnn.optimizers.base import Descent, FlatOptimizer, Optimizer
from minibnn.optimizers.bop import Bop
from minibnn.optimizers.clipping import clip_gradients
from minibnn.optimizers.group import OptimizerGroup, split_parameters
from minibnn.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "AdaMax",
    "Adam",
    "AdamW",
    "Bop",
    "Descent",
    "FlatOptimizer",
    "Optimizer",
    "OptimizerGroup",
    "ShiftAdaMax",
    "clip_gradients",
    "split_parameters",
]
