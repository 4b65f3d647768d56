"""Layers that summarise the windows of an image, each channel for itself."""

from __future__ import annotations

from minibnn.backend import Array, Windows
from minibnn.layers.base import Layer
from minibnn.layers.window import check_fit, check_images, pair


class MaxPool2D(Layer):
    """The largest value of each window and channel.

    .. code-block:: text

        forward    y[n, p, q, c] = max over i, j of x[n, p stride + i, q stride + j, c]
        backward   dx at the place of a window's maximum += dy; 0 elsewhere

    Of equal maxima the first in row-major order gets the gradient; binary images have many. A
    window with a NaN in it gives NaN. Rows and columns that are left over, because no further
    window fits, are dropped.

    In a binary network pool before the sign, right after the convolution: the maximum of signs is
    +1 nearly everywhere.

    Shapes: x (batch, height, width, channels), y (batch, H', W', channels) with
    ``H' = (height - size) // stride + 1``.

    Args:
        size: rows and columns of a window, or one number for both.
        stride: steps from one window to the next; None for the size, so that windows tile the
            image.

    Raises:
        ValueError: from `forward`, for an x of another rank or smaller than a window.

    Reference: Rastegari et al. 2016, arXiv:1603.05279, section 3.2, on pooling before the sign.

    >>> import numpy as np
    >>> x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    >>> MaxPool2D(2).forward(x)[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """

    def __init__(
        self, size: int | tuple[int, int], stride: int | tuple[int, int] | None = None
    ) -> None:
        self.windows = _windows("MaxPool2D", size, stride)

    def __repr__(self) -> str:
        return _describe("MaxPool2D", self.windows)

    def output_bits(self, x_bits: int) -> int:
        """The input's: the largest of some values is one of them."""
        return x_bits

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """The maxima."""
        self.check_input(x)
        check_images(self, x)
        check_fit(self, self.windows, x.shape, "use smaller windows")
        y, place = self.maxima(x, with_places=train)
        if train:
            self.saved = (y.shape, x.shape, place)
        return y

    def maxima(self, x: Array, with_places: bool) -> tuple[Array, Array | None]:
        """The largest values and the positions where they were seen, the first of several."""
        return self.backend.max_pool(x, self.windows, with_places)

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """`dy` where the maxima stand, 0 elsewhere."""
        shape, place = self.take_saved(dy)
        if not need_dx:
            return None
        return self.backend.max_pool_dx(dy, place, self.windows, shape)


class AveragePool2D(Layer):
    """The mean of each window and channel.

    .. code-block:: text

        forward    y[n, p, q, c] = mean over i, j of x[n, p stride + i, q stride + j, c]
        backward   dx at every place of a window += dy / number of places

    Rows and columns that are left over, because no further window fits, are dropped. With windows
    as large as the image it is global average pooling.

    Shapes: as for `MaxPool2D`.

    Args:
        size: rows and columns of a window, or one number for both.
        stride: steps from one window to the next; None for the size.

    Raises:
        ValueError: from `forward`, for an x of another rank or smaller than a window.

    Reference: windows as large as the image, Lin et al. 2013, arXiv:1312.4400, section 3.2.

    >>> import numpy as np
    >>> x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    >>> AveragePool2D(2).forward(x)[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """

    def __init__(
        self, size: int | tuple[int, int], stride: int | tuple[int, int] | None = None
    ) -> None:
        self.windows = _windows("AveragePool2D", size, stride)

    def __repr__(self) -> str:
        return _describe("AveragePool2D", self.windows)

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """The means."""
        self.check_input(x)
        check_images(self, x)
        check_fit(self, self.windows, x.shape, "use smaller windows")
        y = self.backend.average_pool(x, self.windows)
        if train:
            self.saved = (y.shape, x.shape)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """`dy`, shared out evenly to the places of its window."""
        (shape,) = self.take_saved(dy)
        if not need_dx:
            return None
        return self.backend.average_pool_dx(dy, self.windows, shape)


def _windows(
    who: str, size: int | tuple[int, int], stride: int | tuple[int, int] | None
) -> Windows:
    both = pair(who, "size", size, least=1)
    return Windows(both, both if stride is None else pair(who, "stride", stride, least=1))


def _describe(name: str, windows: Windows) -> str:
    stride = "" if windows.stride == windows.size else f", stride={windows.stride}"
    return f"{name}({windows.size[0]}x{windows.size[1]}{stride})"
