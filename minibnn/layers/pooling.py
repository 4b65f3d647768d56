"""Pooling: one value for each window of an image, channel by channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.layers.base import Layer
from minibnn.layers.image_checks import check_fit, check_images, pair
from minibnn.windows import Windows


def max_pool(x: Array, windows: Windows, with_positions: bool) -> tuple[Array, Array | None]:
    """``y = max over i, j of x_ij``, and the position of that maximum.

    ``x_ij[n, p, q] = x[n, p stride + i dilation, q stride + j dilation]`` is the pixel that window
    (p, q) sees at its position (i, j). The four functions here loop over the positions. All
    implementations give exactly the same values. A window that contains a NaN gives NaN.

    Shapes: x (batch, height, width, channels), y and position (batch, H', W', channels).

    Returns:
        y, and the position's number in row-major order, as a small integer. Of equal maxima, the
        first counts. The positions are None if they are not wanted.
    """
    xp = backend_of(x).xp
    positions = windows.positions(windows.counts(x.shape))  # one at a time: there can be many
    _, _, rows, columns = next(positions)
    y = x[:, rows, columns].copy()
    most = windows.size[0] * windows.size[1] - 1
    position = xp.zeros(y.shape, dtype=np.min_scalar_type(most)) if with_positions else None
    for k, (_, _, rows, columns) in enumerate(positions, start=1):
        x_ij = x[:, rows, columns]
        if position is not None:  # k grows, and only a strict rise counts: the first maximum stays
            position = xp.maximum(position, (x_ij > y) * position.dtype.type(k))
        xp.maximum(y, x_ij, out=y)
    return y, position


def max_pool_gradient(
    dy: Array, position: Array, windows: Windows, shape: tuple[int, ...]
) -> Array:
    """``dx_ij += dy`` where position = (i, j), for an x of this shape; 0 elsewhere."""
    dx = backend_of(dy).xp.zeros(shape, dtype=dy.dtype)
    for k, (_, _, rows, columns) in enumerate(windows.positions(dy.shape[1:3])):
        if windows.overlap:
            dx[:, rows, columns] += dy * (position == k)
        else:  # the same without reading dx
            dx[:, rows, columns] = dy * (position == k)
    return dx


def average_pool(x: Array, windows: Windows) -> Array:
    """``y = mean over i, j of x_ij``."""
    counts = windows.counts(x.shape)
    y = backend_of(x).xp.zeros((len(x), *counts, x.shape[-1]), dtype=x.dtype)
    for _, _, rows, columns in windows.positions(counts):
        y += x[:, rows, columns]
    y *= windows.share
    return y


def average_pool_gradient(dy: Array, windows: Windows, shape: tuple[int, ...]) -> Array:
    """``dx_ij += dy / (number of positions)``, for an x of this shape."""
    dx = backend_of(dy).xp.zeros(shape, dtype=dy.dtype)
    share = dy * windows.share
    for _, _, rows, columns in windows.positions(dy.shape[1:3]):
        dx[:, rows, columns] += share
    return dx


class _Pool2D(Layer):
    """What both layers have in common: their windows."""

    def __init__(
        self, size: int | tuple[int, int], stride: int | tuple[int, int] | None = None
    ) -> None:
        who = type(self).__name__
        both = pair(who, "size", size, least=1)
        steps = both if stride is None else pair(who, "stride", stride, least=1)
        self.windows = Windows(both, steps)

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments; see `minibnn.description`."""
        return {"size": self.windows.size, "stride": self.windows.stride}

    def __repr__(self) -> str:
        w = self.windows
        stride = "" if w.stride == w.size else f", stride={w.stride}"
        return f"{type(self).__name__}({w.size[0]}x{w.size[1]}{stride})"


class MaxPool2D(_Pool2D):
    """The largest value of each window and channel.

    .. equations::

        forward    y[n, p, q, c] = max over i, j of x[n, p stride + i, q stride + j, c]
        backward   dx at the position of a window's maximum += dy; 0 elsewhere

    Of equal maxima the first in row-major order gets the gradient; binary images have many. A
    window that contains a NaN gives NaN. Rows and columns where no further window fits are dropped.

    In a binary network, pool before the sign, right after the convolution: the maximum of signs is
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

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """The maxima."""
        self.check_input(x)
        check_images(self, x)
        check_fit(self, self.windows, x.shape, "use smaller windows")
        y, position = self.maxima(x, with_positions=train)
        if train:
            self.saved = (y.shape, x.shape, position)
        return y

    def maxima(self, x: Array, with_positions: bool) -> tuple[Array, Array | None]:
        """The largest values, and the position of each in its window (the first of equal ones)."""
        maxima: tuple[Array, Array | None] = self.backend.run(
            max_pool, x, self.windows, with_positions
        )
        return maxima

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """`dy` at the positions of the maxima, 0 elsewhere."""
        shape, position = self.take_saved(dy)
        if not need_dx:
            return None
        return self.backend.run(max_pool_gradient, dy, position, self.windows, shape)


class AveragePool2D(_Pool2D):
    """The mean of each window and channel.

    .. equations::

        forward    y[n, p, q, c] = mean over i, j of x[n, p stride + i, q stride + j, c]
        backward   dx at every position of a window += dy / (number of positions)

    Rows and columns where no further window fits are dropped. With windows as large as the image
    this is `GlobalAveragePool2D`.

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

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """The means."""
        self.check_input(x)
        check_images(self, x)
        check_fit(self, self.windows, x.shape, "use smaller windows")
        y = self.backend.run(average_pool, x, self.windows)
        if train:
            self.saved = (y.shape, x.shape)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """`dy`, distributed evenly over the positions of its window."""
        (shape,) = self.take_saved(dy)
        if not need_dx:
            return None
        return self.backend.run(average_pool_gradient, dy, self.windows, shape)


class GlobalAveragePool2D(Layer):
    """The mean of each channel over all rows and columns: from images to vectors.

    .. equations::

        forward    y[n, c]        = 1 / (height width) sum over p, q of x[n, p, q, c]
        backward   dx[n, p, q, c] = dy[n, c] / (height width)

    It takes images of any size. After it, a `Dense` layer needs one input for each channel.

    Packed, it sums integers, and the layers behind it take their share.

    Shapes: x (batch, height, width, channels), y (batch, channels).

    Raises:
        ValueError: from `forward`, for an x of another rank or without pixels.

    Reference: Lin et al. 2013, arXiv:1312.4400, section 3.2.

    >>> import numpy as np
    >>> x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    >>> GlobalAveragePool2D().forward(x)
    array([[3., 4.]], dtype=float32)
    """

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """The means."""
        self.check_input(x)
        check_images(self, x)
        pixels = x.shape[1] * x.shape[2]
        if not pixels:
            raise ValueError(f"{self}: expected images with pixels, got x of shape {x.shape}")
        y = x.sum(axis=2).sum(axis=1)  # an axis at a time: shorter sums are rounded less
        y /= pixels
        if train:
            self.saved = (y.shape, x.shape)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """`dy`, distributed evenly over all positions."""
        (shape,) = self.take_saved(dy)
        if not need_dx:
            return None
        dx = self.backend.xp.empty(shape, dtype=dy.dtype)
        dx[...] = (dy / (shape[1] * shape[2]))[:, None, None]
        return dx
