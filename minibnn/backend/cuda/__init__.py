"""The GPU: CuPy, cuBLAS, and kernels of our own. Imported only when a GPU is asked for.

A file ``x.cu`` has the kernels of ``x.py``; `kernels.py` launches them.
"""

from minibnn.backend.cuda import batch_norm, convolution, pooling, rescale
from minibnn.backend.cuda.backend import CupyBackend
from minibnn.backend.cuda.kernels import FILES, Kernels, source
from minibnn.backend.cuda.open import open_gpu

__all__ = [
    "FILES",
    "CupyBackend",
    "Kernels",
    "batch_norm",
    "convolution",
    "open_gpu",
    "pooling",
    "rescale",
    "source",
]
