"""Convolution on the CPU: a few large matrix products, on blocks of images that fit the cache.

For float32 and one group of channels. Products of signs are computed on their bits, see
`products.py`; a padding of -1 or +1 is signs, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minibnn.backend.array import Array
from minibnn.backend.implementations import NUMPY
from minibnn.windows import Windows

# Values of scratch per block of images. On a core with AVX-512 and 1 MiB of second-level cache the
# second layer of `step-larq-cnn` of benchmarks/cpu.py (batch 100, 32 to 64 channels) took for z and
# dW 9.9 ms with 2^17, 9.4 with 2^19 and 12.0 with one block.
BLOCK = 2**19


@NUMPY.implements("convolve", roundings=8)
def convolve(backend: Any, x: Array, W: Array, windows: Windows) -> Array:
    """The im2col matrix times the kernel, reshaped to a matrix."""
    if not fits_windows(windows, x.shape, x, W) or W.shape[:3] != (*windows.size, x.shape[-1]):
        return NotImplemented
    counts, outputs = windows.counts(x.shape), W.shape[-1]
    z = np.empty((len(x), *counts, outputs), x.dtype)
    kernel = W.reshape(-1, outputs)
    for block in _blocks(len(x), math.prod(counts) * len(kernel)):
        columns = _im2col(x[block], counts, windows)
        backend.matmul(columns, kernel, out=z[block].reshape(-1, outputs))
    return z


@NUMPY.implements("convolve_dW", roundings=8)
def convolve_dW(backend: Any, x: Array, dz: Array, windows: Windows) -> Array:
    """The transposed im2col matrix times dz.

    The im2col matrix is computed again: that takes a tenth of the product's time, and keeping it
    would take nine times the memory of x.
    """
    if not fits_windows(windows, x.shape, x, dz) or dz.shape[:3] != (len(x), *windows.counts(x.shape)):
        return NotImplemented
    dz = without_zero_edge(dz)
    counts, outputs = dz.shape[1:3], dz.shape[-1]
    dW = np.zeros((*windows.size, x.shape[-1], outputs), x.dtype)
    for block in _blocks(len(x), math.prod(counts) * math.prod(dW.shape[:3])):
        columns = _im2col(x[block], counts, windows)
        dW += backend.matmul(columns.T, dz[block].reshape(-1, outputs)).reshape(dW.shape)
    return dW


@NUMPY.implements("convolve_dx", roundings=8)
def convolve_dx(
    backend: Any, dz: Array, W: Array, windows: Windows, shape: tuple[int, ...]
) -> Array:
    """As the reference, after removing a last row and column of zeros from dz.

    Two variants were tried, and were not faster: one product for all positions; and rows of dz
    padded with zeros, for longer runs of additions.
    """
    if not fits_windows(windows, shape, dz, W) or dz.shape[:3] != (shape[0], *windows.counts(shape)):
        return NotImplemented
    if W.shape != (*windows.size, shape[-1], dz.shape[-1]):
        return NotImplemented
    dz = without_zero_edge(dz)
    counts, dz = dz.shape[1:3], dz.reshape(-1, dz.shape[-1])
    dx = np.zeros(shape, dz.dtype)
    for i, j, rows, columns in windows.positions(counts):
        dx_ij = backend.matmul(dz, W[i, j].T)
        dx[:, rows, columns] += dx_ij.reshape(shape[0], *counts, shape[-1])
    return dx


def without_zero_edge(dz: Array) -> Array:
    """`dz` without its last row and column, if these are zeros.

    They are zeros if a pooling after the convolution ignored the last row and column of an image of
    odd size. The check costs little compared with the products that it can save. Side
    effect: a nan in pixels that only the ignored outputs saw does not make the gradient nan.
    """
    rows, columns = (max(1, n) for n in dz.shape[1:3])
    rows -= rows > 1 and not dz[:, -1].any()
    columns -= columns > 1 and not dz[:, :, -1].any()
    return dz[:, :rows, :columns]


def fits_windows(windows: Windows, shape: tuple[int, ...], *arrays: Array) -> bool:
    """Whether the arrays are float32, and windows with one group fit on images of this shape."""
    return (
        windows.groups == 1
        and shape[-1] > 0
        and all(a.dtype == np.float32 and a.ndim == 4 for a in arrays)
        and min(windows.counts(shape)) > 0
    )


def _im2col(x: Array, counts: tuple[int, ...], windows: Windows) -> Array:
    """The im2col matrix: a row for each window, a column for each value in a window."""
    height, width = windows.size
    n, row, column, channel = x.strides
    view = as_strided(
        x,
        (len(x), *counts, height, width, x.shape[-1]),
        (
            n,
            row * windows.stride[0],
            column * windows.stride[1],
            row * windows.dilation[0],
            column * windows.dilation[1],
            channel,
        ),
        writeable=False,
    )
    if x.shape[-1] > 1:
        return view.reshape(len(x) * math.prod(counts), -1)
    # With one channel, copying the transpose has longer runs: a row of windows at a time.
    return view.transpose(3, 4, 5, 0, 1, 2).reshape(height * width, -1).T


def _blocks(batch: int, values: int) -> Iterator[slice]:
    """Parts of the batch, each needing at most BLOCK values of scratch (or one image)."""
    step = max(1, BLOCK // values)
    return (slice(start, min(start + step, batch)) for start in range(0, batch, step))
