"""What the kernels of convolution and pooling share: their grid and their arguments."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import FLOATS, THREADS
from minibnn.windows import Windows

PIXELS = 2**31  # a batch has to have fewer pixels, since the kernels number them: 8 GiB or more
LANES = 32  # neighbouring threads that share a pixel, at most: a warp then reads 128 bytes


def fits(
    windows: Windows, shape: tuple[int, ...], *arrays: Array, kinds: Container[Any] = FLOATS
) -> bool:
    """Whether the kernels can take these windows on images of this shape, and these arrays."""
    return (
        windows.groups == 1
        and len(shape) == 4
        and math.prod(shape) > 0
        and math.prod(shape[:3]) < PIXELS
        and min(windows.counts(shape)) > 0
        and arrays[0].dtype in kinds
        and all(a.dtype == arrays[0].dtype for a in arrays)
    )


def launch(
    backend: Any,
    file: str,
    kernel: str,
    windows: Windows,
    shape: tuple[int, ...],
    result: Array,
    *others: Array | np.generic | None,
    lines: int = 1,
) -> None:
    """Launch a kernel in which each thread has a window or a pixel of the result.

    Args:
        backend: launches the kernel.
        file: its file's name without the suffix.
        kernel: its name.
        windows: the windows on the images.
        shape: the images' shape.
        result: the kernel's first argument. Its last axis holds the values of one window or pixel;
            the other axes count the windows or pixels.
        others: the arguments after the result.
        lines: how many parts the last axis is divided into; different blocks compute them.
    """
    count, channels = math.prod(result.shape[:-1]), shape[-1]
    values = result.shape[-1] // lines
    lanes = min(LANES, 1 << (values - 1).bit_length())  # fewer for few channels
    beside = THREADS // lanes
    sizes = (*shape[1:3], *windows.counts(shape), *windows[0], *windows[1], *windows[2])
    numbers = (np.uint32(count), *map(np.int32, (channels, *sizes)))
    backend.kernels.launch(
        file,
        kernel,
        result.dtype,
        (result, *others, *numbers),
        blocks=(-(-count // beside), lines),
        threads=(lanes, beside),
    )
