"""The GPU: CuPy, cuBLAS, and kernels of our own. Imported only when a GPU is asked for.

A file ``x.cu`` has the kernels of ``x.py``; `kernels.py` launches them.
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
