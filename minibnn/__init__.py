"""minibnn: binary neural networks on NumPy and CuPy, with every backward pass written out.

Layers       Dense, Activation, BatchNorm, Flatten, Rescale, Sequential; your own: Layer
Functions    SignSTE, ReLU, Tanh, HardTanh, Sigmoid, Identity; your own: Function
Feedback     Transpose (backpropagation), FixedFeedback, Blocked; your own: Feedback
Training     LogitCrossEntropy, Adam, SGD, schedules; fit, evaluate, plot_history
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
from minibnn.functions import Function, HardTanh, Identity, ReLU, Sigmoid, SignSTE, Tanh
from minibnn.gradcheck import GradientReport, GradientResult, check_gradients
from minibnn.layers import (
    Activation,
    BatchNorm,
    Dense,
    Flatten,
    Layer,
    Rescale,
    Sequential,
)
from minibnn.losses import LogitCrossEntropy, Loss
from minibnn.optimizers import SGD, Adam, Optimizer
from minibnn.parameter import Buffer, Fill, GlorotUniform, Parameter, Uniform, glorot_lr_scale
from minibnn.plots import plot_confusion, plot_history, plot_weight_bits
from minibnn.schedules import Constant, Cosine, Exponential, PerEpoch
from minibnn.training import DivergedError, Metrics, confusion_matrix, evaluate, fit

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Activation",
    "Adam",
    "Backend",
    "BatchNorm",
    "Blocked",
    "Buffer",
    "Constant",
    "Cosine",
    "DataError",
    "DataLoader",
    "DatasetMismatchError",
    "DatasetNotFoundError",
    "Dense",
    "DeviceError",
    "Diagnosis",
    "DivergedError",
    "Draws",
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
    "Identity",
    "IdxFormatError",
    "ImageDataset",
    "Layer",
    "LogitCrossEntropy",
    "Loss",
    "Metrics",
    "Optimizer",
    "Parameter",
    "PerEpoch",
    "ReLU",
    "Rescale",
    "Sequential",
    "Sigmoid",
    "SignSTE",
    "Tanh",
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
    "plot_history",
    "plot_weight_bits",
    "read_idx",
    "write_idx",
]
