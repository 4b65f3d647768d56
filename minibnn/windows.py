"""The windows of a convolution or a pooling on an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Windows(NamedTuple):
    """Windows of one size that slide over the rows and columns of an image.

    Position (i, j) of window (p, q) is the pixel
    ``(p stride + i dilation, q stride + j dilation)``. No window reaches beyond the last row or
    column, so some of the last rows and columns may belong to no window.

    Attributes:
        size: rows and columns of a window.
        stride: rows and columns from one window to the next.
        dilation: rows and columns from one position in a window to the next.
        groups: the number of groups of input channels and of output channels in a convolution;
            each group of outputs takes one group of inputs.

    >>> Windows((2, 2), stride=(2, 2)).counts((9, 5, 8, 3))
    (2, 4)
    """

    size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def overlap(self) -> bool:
        """Whether a pixel may belong to several windows."""
        reach = ((n - 1) * d for n, d in zip(self.size, self.dilation, strict=True))
        return any(r >= s for r, s in zip(reach, self.stride, strict=True))

    @property
    def share(self) -> float:
        """The weight of each position in a mean over the window."""
        return 1 / (self.size[0] * self.size[1])

    def counts(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The number of windows down and across images of shape (batch, H, W, C).

        Zero or negative if no window fits.
        """
        (height, width), (stride_y, stride_x), (dilation_y, dilation_x) = self[:3]
        down = (shape[1] - (height - 1) * dilation_y - 1) // stride_y + 1
        across = (shape[2] - (width - 1) * dilation_x - 1) // stride_x + 1
        return down, across

    def positions(self, counts: tuple[int, ...]) -> Iterator[tuple[int, int, slice, slice]]:
        """For each position (i, j) in a window, the rows and columns of that pixel in all windows.

        ``x[:, rows, columns]`` is the pixel at (i, j) of every window, of shape (batch, windows
        down, windows across, C). One position never takes a pixel twice.

        Args:
            counts: windows down and across.
        """
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                rows, columns = (
                    slice(at * dilation, at * dilation + (count - 1) * stride + 1, stride)
                    for at, count, stride, dilation in zip(
                        (i, j), counts, self.stride, self.dilation, strict=True
                    )
                )
                yield i, j, rows, columns
