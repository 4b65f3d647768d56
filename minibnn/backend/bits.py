"""Windows of bytes as rows, for packed convolutions."""

from __future__ import annotations

from types import ModuleType

from minibnn.backend.array import Array
from minibnn.backend.windows import Windows


class Bits:
    """Part of `Backend`; the plain body."""

    xp: ModuleType

    def window_rows(self, x: Array, windows: Windows) -> Array:
        """The values that each window sees, in the order (row, column, channel), as a row.

        Shapes: x (batch, H, W, C) of uint8; the result (batch * windows, values of a window).
        """
        down, across = windows.counts(x.shape)
        n, channels = len(x), x.shape[-1]
        rows = self.xp.empty((n, down, across, *windows.size, channels), dtype=x.dtype)
        for i, j, ys, xs in windows.positions((down, across)):
            rows[:, :, :, i, j] = x[:, ys, xs]
        return rows.reshape(n * down * across, windows.size[0] * windows.size[1] * channels)
