"""The CPU: NumPy and, where they were built, C kernels.

Each family of operations has a file with its implementations; `c_kernels.py` loads the C kernels.
"""

from minibnn.backend.cpu import (
    accuracy,
    adam,
    batch_norm,
    convolution,
    cross_entropy,
    packed_bits,
    pooling,
    rescale,
    signs,
)
from minibnn.backend.cpu.backend import NumpyBackend
from minibnn.backend.cpu.c_kernels import open_library
from minibnn.backend.cpu.compiled import CompiledBackend

__all__ = [
    "CompiledBackend",
    "NumpyBackend",
    "accuracy",
    "adam",
    "batch_norm",
    "convolution",
    "cross_entropy",
    "open_library",
    "packed_bits",
    "pooling",
    "rescale",
    "signs",
]
