"""minibnn: binary neural networks on NumPy and CuPy, with every backward pass written out.

Layers       Dense, Conv2D, Radial, Activation, Dropout, BatchNorm, ShiftBatchNorm, TensorNorm,
             MaxPool2D, AveragePool2D, Flatten, Reshape, Rescale, Sequential; your own: Layer
Functions    ReLU, Tanh, HardTanh, Sigmoid, Identity, PowerOfTwo; your own: Function
Quantizers   SignSTE, ApproxSign, SwishSign, MagnitudeAwareSign, StochasticSign, AdaSTE, Ternary,
             TernaryWeights, Heaviside, DoReFaActivations, DoReFaWeights; plot_function draws one
Feedback     Transpose (backpropagation), FixedFeedback, Blocked; DirectFeedback, a container;
             your own: Feedback
Losses       LogitCrossEntropy, SquaredHinge, Hinge, MeanSquaredError; your own: Loss
Optimisers   SGD, Adam, AdaMax, ShiftAdaMax, Bop; OptimizerGroup, split_parameters; schedules
Training     fit, evaluate, plot_history
Recipes      minibnn.recipes.RECIPES; python -m minibnn compare
Data         load_mnist, load_sample, DataLoader, read_idx, write_idx, one_hot, one_cold
Looking      model.summary(), diagnose, confusion_matrix, plot_confusion, plot_weight_bits
Checking     check_gradients

>>> import numpy as np
>>> from minibnn import Activation, Dense, Sequential, SignSTE
>>> model = Sequential(
...     Dense(784, 128, weight_quantizer=SignSTE()),
...     Activation(SignSTE()),
...     Dense(128, 10, weight_quantizer=SignSTE()),
... ).initialize(np.random.default_rng(0))
>>> model.forward(np.zeros((1, 784), dtype=np.float32)).shape
(1, 10)
"""

from minibnn.backend import Backend, DeviceError, backend_of, get_backend
from minibnn.data import (
    DataError,
    DataLoader,
    DatasetMismatchError,
    DatasetNotFoundError,
    IdxFormatError,
    ImageDataset,
    load_mnist,
    load_mnist_or_sample,
    load_sample,
    one_cold,
    one_hot,
    read_idx,
    write_idx,
)
from minibnn.diagnosis import Diagnosis, Finding, diagnose
from minibnn.draws import Draws
from minibnn.feedback import Blocked, Feedback, FixedFeedback, Transpose
from minibnn.functions import (
    AdaSTE,
    ApproxSign,
    DoReFaActivations,
    DoReFaWeights,
    Function,
    HardTanh,
    Heaviside,
    Identity,
    MagnitudeAwareSign,
    PowerOfTwo,
    ReLU,
    Sigmoid,
    SignSTE,
    StochasticSign,
    StraightThrough,
    SwishSign,
    Tanh,
    Ternary,
    TernaryWeights,
)
from minibnn.gradcheck import GradientReport, GradientResult, check_gradients
from minibnn.layers import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DirectFeedback,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    Radial,
    Rescale,
    Reshape,
    Sequential,
    ShiftBatchNorm,
    TensorNorm,
)
from minibnn.losses import Hinge, LogitCrossEntropy, Loss, MeanSquaredError, SquaredHinge
from minibnn.optimizers import (
    SGD,
    Adam,
    AdaMax,
    Bop,
    Optimizer,
    OptimizerGroup,
    ShiftAdaMax,
    split_parameters,
)
from minibnn.parameter import Buffer, Fill, GlorotUniform, Parameter, Uniform, glorot_lr_scale
from minibnn.plots import plot_confusion, plot_function, plot_history, plot_weight_bits
from minibnn.schedules import Constant, Cosine, Exponential, PerEpoch
from minibnn.training import DivergedError, Metrics, confusion_matrix, evaluate, fit

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Activation",
    "AdaMax",
    "AdaSTE",
    "Adam",
    "ApproxSign",
    "AveragePool2D",
    "Backend",
    "BatchNorm",
    "Blocked",
    "Bop",
    "Buffer",
    "Constant",
    "Conv2D",
    "Cosine",
    "DataError",
    "DataLoader",
    "DatasetMismatchError",
    "DatasetNotFoundError",
    "Dense",
    "DeviceError",
    "Diagnosis",
    "DirectFeedback",
    "DivergedError",
    "DoReFaActivations",
    "DoReFaWeights",
    "Draws",
    "Dropout",
    "Exponential",
    "Feedback",
    "Fill",
    "Finding",
    "FixedFeedback",
    "Flatten",
    "Function",
    "GlorotUniform",
    "GradientReport",
    "GradientResult",
    "HardTanh",
    "Heaviside",
    "Hinge",
    "Identity",
    "IdxFormatError",
    "ImageDataset",
    "Layer",
    "LogitCrossEntropy",
    "Loss",
    "MagnitudeAwareSign",
    "MaxPool2D",
    "MeanSquaredError",
    "Metrics",
    "Optimizer",
    "OptimizerGroup",
    "Parameter",
    "PerEpoch",
    "PowerOfTwo",
    "Radial",
    "ReLU",
    "Rescale",
    "Reshape",
    "Sequential",
    "ShiftAdaMax",
    "ShiftBatchNorm",
    "Sigmoid",
    "SignSTE",
    "SquaredHinge",
    "StochasticSign",
    "StraightThrough",
    "SwishSign",
    "Tanh",
    "TensorNorm",
    "Ternary",
    "TernaryWeights",
    "Transpose",
    "Uniform",
    "backend_of",
    "check_gradients",
    "confusion_matrix",
    "diagnose",
    "evaluate",
    "fit",
    "get_backend",
    "glorot_lr_scale",
    "load_mnist",
    "load_mnist_or_sample",
    "load_sample",
    "one_cold",
    "one_hot",
    "plot_confusion",
    "plot_function",
    "plot_history",
    "plot_weight_bits",
    "read_idx",
    "split_parameters",
    "write_idx",
]
