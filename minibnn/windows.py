"""Where the windows of a convolution or a pooling lie on an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Windows(NamedTuple):
    """Windows of one size that slide over the rows and columns of an image.

    Window (p, q) sees at its position (i, j) the pixel
    ``(p stride + i dilation, q stride + j dilation)``. Windows that would reach beyond the last
    row or column do not exist, so the image's last rows and columns may be seen by none.

    Attributes:
        size: rows and columns of a window.
        stride: rows and columns from one window to the next.
        dilation: rows and columns from one position in a window to the next.
        groups: into how many groups a convolution divides the channels of its input and of its
            output; each group of outputs sees one group of inputs.

    >>> Windows((2, 2), stride=(2, 2)).counts((9, 5, 8, 3))
    (2, 4)
    """

    size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def overlap(self) -> bool:
        """Whether a pixel may be in several windows."""
        reach = ((n - 1) * d for n, d in zip(self.size, self.dilation, strict=True))
        return any(r >= s for r, s in zip(reach, self.stride, strict=True))

    @property
    def share(self) -> float:
        """The weight of each position in a mean over the window."""
        return 1 / (self.size[0] * self.size[1])

    def counts(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """How many windows lie below and beside each other on images of shape (batch, H, W, C).

        At most 0 where not even one fits.
        """
        (height, width), (stride_y, stride_x), (dilation_y, dilation_x) = self[:3]
        down = (shape[1] - (height - 1) * dilation_y - 1) // stride_y + 1
        across = (shape[2] - (width - 1) * dilation_x - 1) // stride_x + 1
        return down, across

    def positions(self, counts: tuple[int, ...]) -> Iterator[tuple[int, int, slice, slice]]:
        """Each position (i, j) in a window, with the rows and columns that all windows see there.

        ``x[:, rows, columns]`` has the shape (batch, windows below, windows beside, C) and no
        pixel twice.

        Args:
            counts: windows below and beside each other.
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
