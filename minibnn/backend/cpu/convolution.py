"""Convolution on the CPU, for float32 and one group of channels.

Images or a kernel that are signs are packed into bits, and checked to be signs on the way, by
`convolutions.h`; so nothing is remembered from one convolution to the next. A padding of -1 or +1
is signs, too. Other images are convolved by `small_windows.h` if a window has few values, such as
in a first layer. Both need no im2col matrix of floats.

All else is a few large matrix products, on blocks of images that fit the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minibnn.backend.array import Array
from minibnn.backend.cpu.c_kernels import FLOAT32, at, fits
from minibnn.backend.cpu.windows import as_given
from minibnn.backend.implementations import COMPILED, NUMPY
from minibnn.windows import Windows

# Values of scratch per block of images. On a core with AVX-512 and 1 MiB of second-level cache the
# second layer of `step-larq-cnn` of benchmarks/cpu.py (batch 100, 32 to 64 channels) took for z and
# dW 9.9 ms with 2^17, 9.4 with 2^19 and 12.0 with one block.
BLOCK = 2**19
LEAST_VALUES = 8  # of a window, for C


@COMPILED.implements("convolve", roundings=8)
def convolve_in_c(backend: Any, x: Array, W: Array, windows: Windows) -> Any:
    """On the bits of images that are signs, and of the kernel if it is."""
    if not _fits_in_c(windows, x.shape, x, W) or W.shape[:3] != (*windows.size, x.shape[-1]):
        return NotImplemented
    counts, outputs = windows.counts(x.shape), W.shape[-1]
    z = np.empty((len(x), *counts, outputs), FLOAT32)
    arguments = outputs, as_given(windows, x.shape, counts), at(x), at(W), at(z)
    done = bits_pay(windows, x.shape) and backend.c.convolve(*arguments)
    if not done and small_pays(windows, x.shape, outputs, 1024):
        done = backend.c.convolve_small(*arguments)
    return z if done else NotImplemented


@COMPILED.implements("convolve_dW", roundings=8)
def convolve_dW_in_c(backend: Any, x: Array, dz: Array, windows: Windows) -> Any:
    """On the bits of images that are signs."""
    if not _fits_in_c(windows, x.shape, x, dz) or dz.shape[:3] != (
        len(x),
        *windows.counts(x.shape),
    ):
        return NotImplemented
    outputs = dz.shape[-1]
    dW = np.empty((*windows.size, x.shape[-1], outputs), FLOAT32)
    arguments = outputs, as_given(windows, x.shape, dz.shape[1:3]), at(x), at(dz), at(dW)
    done = False
    if not small_pays(windows, x.shape, outputs, 600):  # there small windows are even faster
        done = bits_pay(windows, x.shape) and backend.c.convolve_dW(*arguments)
    if not done and small_pays(windows, x.shape, outputs, 2048):
        done = backend.c.convolve_small_dW(*arguments)
    return dW if done else NotImplemented


@COMPILED.implements("convolve_dx", roundings=8)
def convolve_dx_in_c(
    backend: Any, dz: Array, W: Array, windows: Windows, shape: tuple[int, ...]
) -> Any:
    """On the bits of a kernel of signs."""
    if not _fits_in_c(windows, shape, dz, W) or dz.shape[:3] != (shape[0], *windows.counts(shape)):
        return NotImplemented
    if W.shape != (*windows.size, shape[-1], dz.shape[-1]) or not dx_pays(windows, shape):
        return NotImplemented
    dx, given = np.empty(shape, FLOAT32), as_given(windows, shape, dz.shape[1:3])
    done = backend.c.convolve_dx(W.shape[-1], given, at(dz), at(W), at(dx))
    return dx if done else NotImplemented


@NUMPY.implements("convolve", roundings=8)
def convolve(backend: Any, x: Array, W: Array, windows: Windows) -> Array:
    """The im2col matrix times the kernel, reshaped to a matrix."""
    if not _fits(windows, x.shape, x, W) or W.shape[:3] != (*windows.size, x.shape[-1]):
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
    if not _fits(windows, x.shape, x, dz) or dz.shape[:3] != (len(x), *windows.counts(x.shape)):
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
    if not _fits(windows, shape, dz, W) or dz.shape[:3] != (shape[0], *windows.counts(shape)):
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


def bits_pay(windows: Windows, shape: tuple[int, ...]) -> bool:
    """Whether a convolution on bits is faster than products with the im2col matrix.

    In benchmarks/results/convolutions.csv it is where the windows have more values than the images,
    so that the im2col matrix is large, unless a window has very few.
    """
    values = math.prod(windows.size) * shape[-1]
    if not LEAST_VALUES <= values < 2**24:  # whole numbers beyond are not exact in float32
        return False
    return math.prod(windows.counts(shape)) * values > math.prod(shape[1:])


def dx_pays(windows: Windows, shape: tuple[int, ...]) -> bool:
    """The same for dx, which is otherwise a product for each position."""
    positions = math.prod(windows.size)
    return positions > 1 and positions * shape[-1] >= LEAST_VALUES


def small_pays(windows: Windows, shape: tuple[int, ...], outputs: int, most: int) -> bool:
    """The same for windows of few values, whatever these are, and kernels of at most this size.

    There need to be some windows on an image, and outputs that fill vectors.
    """
    values, number = math.prod(windows.size) * shape[-1], math.prod(windows.counts(shape))
    if values < LEAST_VALUES or number < 16 or number * values <= math.prod(shape[1:]):
        return False
    return -outputs % 32 <= 8 and values * outputs <= most


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


def _fits(windows: Windows, shape: tuple[int, ...], *arrays: Array) -> bool:
    """Whether the arrays are float32, and windows with one group fit on images of this shape."""
    return (
        windows.groups == 1
        and shape[-1] > 0
        and all(a.dtype == np.float32 and a.ndim == 4 for a in arrays)
        and min(windows.counts(shape)) > 0
    )


def _fits_in_c(windows: Windows, shape: tuple[int, ...], *arrays: Array) -> bool:
    """Whether C can take them, too."""
    return _fits(windows, shape, *arrays) and all(a.size for a in arrays) and fits(*arrays)


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
