"""Kernels written in CUDA C++, and what launches them."""

from minibnn.backend.cuda.kernels import FILES, Kernels, floats, source

__all__ = ["FILES", "Kernels", "floats", "source"]
