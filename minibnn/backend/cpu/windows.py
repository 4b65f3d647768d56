"""The windows of a convolution or a pooling, as `windows.h` takes them."""

from __future__ import annotations

import ctypes
from typing import Any

from minibnn.windows import Windows


def as_given(windows: Windows, shape: tuple[int, ...], counts: tuple[int, ...]) -> Any:
    """The C structure of windows on images of this shape.

    Args:
        windows: with one group of channels.
        shape: (batch, height, width, channels).
        counts: windows down and across, or fewer.
    """
    size, stride, dilation, _ = windows
    return (ctypes.c_ssize_t * 12)(*shape, *size, *stride, *dilation, *counts)
