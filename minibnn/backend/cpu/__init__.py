"""The CPU: NumPy and, where they were built, C kernels.

A file for each family of operations has their implementations; `library.py` loads the C kernels.
"""

from minibnn.backend.cpu import batch_norm, convolution, rescale
from minibnn.backend.cpu.backend import CompiledBackend, NumpyBackend
from minibnn.backend.cpu.library import open_library

__all__ = [
    "CompiledBackend",
    "NumpyBackend",
    "batch_norm",
    "convolution",
    "open_library",
    "rescale",
]
