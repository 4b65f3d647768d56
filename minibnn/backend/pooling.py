"""Primitives that summarise windows on images, each channel for itself."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.windows import Windows


class Pooling:
    """Part of `Backend`; the plain bodies.

    Each works on one position of the windows at a time: ``x[:, rows, columns]`` are the pixels that
    all windows see there.

    Shapes, of all methods: x and dx (batch, H, W, C), y, dy and place (batch, H', W', C).
    """

    xp: ModuleType

    def max_pool(self, x: Array, windows: Windows, with_places: bool) -> tuple[Array, Array | None]:
        """The largest value of each window, and the position where it was seen.

        .. code-block:: text

            y[n, p, q, c] = max over i, j of x[n, p stride + i dilation, q stride + j dilation, c]

        A window with a NaN in it gives NaN.

        Returns:
            y, and the number of the position in row-major order, as small integers: of equal
            maxima the first; None unless they are wanted.
        """
        xp = self.xp
        positions = windows.positions(windows.counts(x.shape))  # one at a time: there can be many
        _, _, rows, columns = next(positions)
        y = x[:, rows, columns].copy()
        most = windows.size[0] * windows.size[1] - 1
        place = xp.zeros(y.shape, dtype=np.min_scalar_type(most)) if with_places else None
        for k, (_, _, rows, columns) in enumerate(positions, start=1):
            x_ij = x[:, rows, columns]
            if place is not None:  # k grows, so the last strict rise, the first maximum, stays
                place = xp.maximum(place, (x_ij > y) * place.dtype.type(k))
            xp.maximum(y, x_ij, out=y)
        return y, place

    def max_pool_dx(
        self, dy: Array, place: Array, windows: Windows, shape: tuple[int, ...]
    ) -> Array:
        """`dy` where the maxima stand, 0 elsewhere: the gradient for an x of the given shape."""
        dx = self.xp.zeros(shape, dtype=dy.dtype)
        for k, (_, _, rows, columns) in enumerate(windows.positions(dy.shape[1:3])):
            if windows.overlap:
                dx[:, rows, columns] += dy * (place == k)
            else:  # the same without reading dx
                dx[:, rows, columns] = dy * (place == k)
        return dx

    def average_pool(self, x: Array, windows: Windows) -> Array:
        """The mean of each window."""
        counts = windows.counts(x.shape)
        y = self.xp.zeros((x.shape[0], *counts, x.shape[-1]), dtype=x.dtype)
        for _, _, rows, columns in windows.positions(counts):
            y += x[:, rows, columns]
        y *= windows.share
        return y

    def average_pool_dx(self, dy: Array, windows: Windows, shape: tuple[int, ...]) -> Array:
        """`dy`, shared out evenly to what its window saw, in an array of the given shape."""
        dx = self.xp.zeros(shape, dtype=dy.dtype)
        share = dy * windows.share
        for _, _, rows, columns in windows.positions(dy.shape[1:3]):
            dx[:, rows, columns] += share
        return dx
