"""Kernels written in CUDA C++, and what launches them."""

from minibnn.backend.cuda.kernels import FILES, Kernels, blocks_for, floats, source

__all__ = ["FILES", "Kernels", "blocks_for", "floats", "source"]
