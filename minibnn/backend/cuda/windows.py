"""What the kernels of convolution and of pooling have in common: their grid and their arguments."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import FLOATS, THREADS
from minibnn.windows import Windows

PIXELS = 2**31  # pixels in a batch that the kernels no longer number: 8 GiB of them, or more
LANES = 32  # threads beside each other that share a pixel, at most: a warp then reads 128 bytes


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
    """Launch a kernel whose threads have a window or a pixel each: all axes but the result's last.

    Args:
        backend: whose kernels.
        file: without its ending.
        kernel: its name.
        windows: on the images.
        shape: of the images.
        result: the kernel's first argument.
        others: what follows it.
        lines: into how many the last axis is divided among blocks.
    """
    count, channels = math.prod(result.shape[:-1]), shape[-1]
    values = result.shape[-1] // lines
    lanes = min(LANES, 1 << (values - 1).bit_length())  # few, where there are few channels
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
