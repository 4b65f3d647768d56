"""The GPU: CuPy, cuBLAS, and our own kernels. Imported only when a GPU is requested.

The kernels that ``x.py`` launches are in ``x.cu``; `kernels.py` compiles them.
"""

from minibnn.backend.cuda import (
    accuracy,
    adam,
    batch_norm,
    captured_step,
    convolution,
    cross_entropy,
    finite,
    packed_bits,
    pooling,
    random_stream,
    rescale,
    signs,
)
from minibnn.backend.cuda.backend import CupyBackend
from minibnn.backend.cuda.kernels import FILES, Kernels, source
from minibnn.backend.cuda.open import open_gpu

__all__ = [
    "FILES",
    "CupyBackend",
    "Kernels",
    "accuracy",
    "adam",
    "batch_norm",
    "captured_step",
    "convolution",
    "cross_entropy",
    "finite",
    "open_gpu",
    "packed_bits",
    "pooling",
    "random_stream",
    "rescale",
    "signs",
    "source",
]
