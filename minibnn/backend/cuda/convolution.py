"""Convolution on the GPU: one matrix product for all positions, and the im2col matrix around it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import C_NAMES
from minibnn.backend.cuda.windows import fits, launch
from minibnn.backend.implementations import CUDA
from minibnn.windows import Windows

# The most values in the im2col matrix: 256 MiB of float32, whatever the batch. At batch 100 the
# second layer of larq-cnn (11 x 11 windows of 288 values) needs 3.5 million, and a layer of 32 x 32
# windows of 3 x 3 x 64 values 59 million, so training has one block. If there are several, their
# two launches cost little compared with 512 MiB of traffic.
SCRATCH = 2**26


@CUDA.implements("convolve", roundings=8)
def convolve(backend: Any, x: Array, W: Array, windows: Windows) -> Array:
    """The im2col matrix times the kernel, reshaped to a matrix."""
    if not fits(windows, x.shape, x, W) or W.shape[:-1] != (*windows.size, x.shape[-1]):
        return NotImplemented
    x = backend.xp.ascontiguousarray(x)
    counts, outputs = windows.counts(x.shape), W.shape[-1]
    kernel = W.reshape(-1, outputs)
    z = backend.xp.empty((len(x), *counts, outputs), dtype=x.dtype)
    for block in _blocks(x.shape, windows):
        matrix = _im2col(backend, x[block], windows)
        backend.matmul(matrix, kernel, out=z[block].reshape(-1, outputs))
    return z


@CUDA.implements("convolve_dW", roundings=8)
def convolve_dW(backend: Any, x: Array, dz: Array, windows: Windows) -> Array:
    """The transposed im2col matrix times dz.

    The im2col matrix is computed again: keeping it would take nine times the memory of x.
    """
    if not fits(windows, x.shape, x, dz) or dz.shape[:-1] != (len(x), *windows.counts(x.shape)):
        return NotImplemented
    x, dz = backend.xp.ascontiguousarray(x), backend.xp.ascontiguousarray(dz)
    outputs = dz.shape[-1]
    parts = (
        backend.matmul(_im2col(backend, x[block], windows).T, dz[block].reshape(-1, outputs))
        for block in _blocks(x.shape, windows)
    )
    dW = next(parts)
    for part in parts:
        dW += part
    return dW.reshape(*windows.size, x.shape[-1], outputs)


@CUDA.implements("convolve_dx", roundings=8)
def convolve_dx(
    backend: Any, dz: Array, W: Array, windows: Windows, shape: tuple[int, ...]
) -> Array:
    """One product, then each pixel's sum over the windows that saw it."""
    if not fits(windows, shape, dz, W) or dz.shape[:-1] != (shape[0], *windows.counts(shape)):
        return NotImplemented
    outputs = dz.shape[-1]
    if W.shape != (*windows.size, shape[-1], outputs):
        return NotImplemented
    dz = backend.xp.ascontiguousarray(dz)
    kernel = W.reshape(-1, outputs)
    dx = backend.xp.empty(shape, dtype=dz.dtype)
    for block in _blocks(shape, windows):
        matrix = backend.matmul(dz[block].reshape(-1, outputs), kernel.T)
        launch(backend, "convolution", "col2im", windows, shape, dx[block], matrix)
    return dx


@CUDA.implements("window_rows")
def window_rows(backend: Any, x: Array, windows: Windows) -> Array:
    """For packed models, by the same kernel."""
    if not fits(windows, x.shape, x, kinds=C_NAMES):
        return NotImplemented
    return _im2col(backend, backend.xp.ascontiguousarray(x), windows)


def _im2col(backend: Any, x: Array, windows: Windows) -> Array:
    """The im2col matrix: a row for each window, a column for each value in a window."""
    values = math.prod(windows.size) * x.shape[-1]
    matrix = backend.xp.empty((len(x) * math.prod(windows.counts(x.shape)), values), dtype=x.dtype)
    lines = windows.size[0]  # each line of a window has its own threads
    launch(backend, "convolution", "im2col", windows, x.shape, matrix, x, lines=lines)
    return matrix


def _blocks(shape: tuple[int, ...], windows: Windows) -> Iterator[slice]:
    """Parts of the batch whose im2col matrices have at most SCRATCH values (or one image)."""
    batch, *_, channels = shape
    values = math.prod(windows.counts(shape)) * math.prod(windows.size) * channels
    step = max(1, SCRATCH // values)
    return (slice(start, min(start + step, batch)) for start in range(0, batch, step))
