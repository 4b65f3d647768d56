"""Convolutions on the CPU in C, which need no im2col matrix of floats.

Images or a kernel that are signs are packed into bits, and checked to be signs on the way, see
`convolutions.h`; so nothing is remembered from one convolution to the next. A padding of -1 or +1
is signs, too. Other images are taken if a window has few values, such as in a first layer, see
`small_windows.h`. All else goes to `convolution.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cpu.c_kernels import FLOAT32, at, fits
from minibnn.backend.cpu.convolution import fits_windows
from minibnn.backend.cpu.windows import as_given
from minibnn.backend.implementations import COMPILED
from minibnn.windows import Windows


@COMPILED.implements("convolve", roundings=8)
def convolve(backend: Any, x: Array, W: Array, windows: Windows) -> Any:
    """On the bits of images that are signs, and of the kernel if it is."""
    if not _fits(windows, x.shape, x, W) or W.shape[:3] != (*windows.size, x.shape[-1]):
        return NotImplemented
    counts, outputs = windows.counts(x.shape), W.shape[-1]
    z = np.empty((len(x), *counts, outputs), FLOAT32)
    arguments = outputs, as_given(windows, x.shape, counts), at(x), at(W), at(z)
    done = bits_pay(windows, x.shape) and backend.c.convolve(*arguments)
    if not done and small_pays(windows, x.shape, outputs, 1024):
        done = backend.c.convolve_small(*arguments)
    return z if done else NotImplemented


@COMPILED.implements("convolve_dW", roundings=8)
def convolve_dW(backend: Any, x: Array, dz: Array, windows: Windows) -> Any:
    """On the bits of images that are signs."""
    if not _fits(windows, x.shape, x, dz) or dz.shape[:3] != (len(x), *windows.counts(x.shape)):
        return NotImplemented
    outputs = dz.shape[-1]
    dW = np.empty((*windows.size, x.shape[-1], outputs), FLOAT32)
    arguments = outputs, as_given(windows, x.shape, dz.shape[1:3]), at(x), at(dz), at(dW)
    done = bits_pay(windows, x.shape) and backend.c.convolve_dW(*arguments)
    if not done and small_pays(windows, x.shape, outputs, 2048):
        done = backend.c.convolve_small_dW(*arguments)
    return dW if done else NotImplemented


@COMPILED.implements("convolve_dx", roundings=8)
def convolve_dx(
    backend: Any, dz: Array, W: Array, windows: Windows, shape: tuple[int, ...]
) -> Any:
    """On the bits of a kernel of signs."""
    if not _fits(windows, shape, dz, W) or dz.shape[:3] != (shape[0], *windows.counts(shape)):
        return NotImplemented
    if W.shape != (*windows.size, shape[-1], dz.shape[-1]) or not bits_pay(windows, shape):
        return NotImplemented
    dx, given = np.empty(shape, FLOAT32), as_given(windows, shape, dz.shape[1:3])
    done = backend.c.convolve_dx(W.shape[-1], given, at(dz), at(W), at(dx))
    return dx if done else NotImplemented


def bits_pay(windows: Windows, shape: tuple[int, ...]) -> bool:
    """Whether a convolution on bits is faster than products with the im2col matrix.

    In benchmarks/results/convolutions.csv it is where the windows have more values than the images,
    so that the im2col matrix is large, unless a window has very few.
    """
    values = math.prod(windows.size) * shape[-1]
    if not LEAST_VALUES <= values < 2**24:  # whole numbers beyond are not exact in float32
        return False
    return math.prod(windows.counts(shape)) * values > math.prod(shape[1:])


def small_pays(windows: Windows, shape: tuple[int, ...], outputs: int, most: int) -> bool:
    """The same for windows of few values, whatever these are, and kernels of at most this size."""
    values = math.prod(windows.size) * shape[-1]
    fill = -outputs % 32 <= 8  # numbers that vectors are filled up with
    overlapping = math.prod(windows.counts(shape)) * values > math.prod(shape[1:])
    return fill and overlapping and LEAST_VALUES <= values and values * outputs <= most


LEAST_VALUES = 8  # of a window


def _fits(windows: Windows, shape: tuple[int, ...], *arrays: Array) -> bool:
    return fits_windows(windows, shape, *arrays) and all(a.size for a in arrays) and fits(*arrays)
