"""Convolution on the CPU: few large matrix products, on blocks of images that fit into the cache.

The same functions as in `convolution`, for one group of channels. There is no `convolve_dx`: the
plain one was the fastest, before one product for all positions, and before rows of dz with zeros at
their ends, which make the additions run longer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minibnn.backend.windows import Windows

FloatArray = np.ndarray[Any, Any]

# Values of scratch per block of images. On a core with AVX-512 and 1 MiB of second-level cache the
# second layer of `step-larq-cnn` of benchmarks/cpu.py (batch 100, 32 to 64 channels) took for z and
# dW 9.9 ms with 2^17, 9.4 with 2^19 and 12.0 with one block.
BLOCK = 2**19


def convolve(x: FloatArray, W: FloatArray, windows: Windows) -> FloatArray:
    """All windows as the rows of a matrix, times the kernel as another."""
    counts, outputs = windows.counts(x.shape), W.shape[-1]
    z = np.empty((len(x), *counts, outputs), x.dtype)
    kernel = W.reshape(-1, outputs)
    for block in _blocks(len(x), math.prod(counts) * len(kernel)):
        np.matmul(_columns(x[block], counts, windows), kernel, out=z[block].reshape(-1, outputs))
    return z


def convolve_dw(x: FloatArray, dz: FloatArray, windows: Windows, out: FloatArray) -> FloatArray:
    """The same matrix of windows, transposed, times dz.

    It is made anew: that takes a tenth of the product's time, and kept it would take nine times
    the memory of x.
    """
    dz = without_zero_edge(dz)
    counts, outputs = dz.shape[1:3], dz.shape[-1]
    out[...] = 0
    for block in _blocks(len(x), math.prod(counts) * (out.size // outputs)):
        dW = np.matmul(_columns(x[block], counts, windows).T, dz[block].reshape(-1, outputs))
        out += dW.reshape(out.shape)
    return out


def without_zero_edge(dz: FloatArray) -> FloatArray:
    """`dz` without its last row and column where those are zeros.

    They are after a pooling that dropped an odd row and column. To look costs little beside the
    products it can save.
    """
    rows, columns = (max(1, n) for n in dz.shape[1:3])
    rows -= rows > 1 and not dz[:, -1].any()
    columns -= columns > 1 and not dz[:, :, -1].any()
    return dz[:, :rows, :columns]


def _columns(x: FloatArray, counts: tuple[int, ...], windows: Windows) -> FloatArray:
    """The matrix of windows: a row for each window, a column for each of its values."""
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
    # With one channel the transpose is copied in longer runs: a row of windows, not of a window.
    return view.transpose(3, 4, 5, 0, 1, 2).reshape(height * width, -1).T


def _blocks(batch: int, values: int) -> Iterator[slice]:
    """Parts of the batch of so many images that they need no more than BLOCK values of scratch."""
    step = max(1, BLOCK // values)
    return (slice(start, min(start + step, batch)) for start in range(0, batch, step))
