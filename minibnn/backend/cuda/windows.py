"""Convolution and pooling on the GPU: one matrix product for all positions, kernels around it."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import C_NAMES, FLOATS, THREADS, Kernels
from minibnn.backend.cuda.signs import CupySigns
from minibnn.backend.windows import Windows

# Values of scratch for the matrix of windows: 256 MiB of float32, whatever the batch. At batch 100
# the second layer of larq-cnn (11 x 11 windows of 288 values) needs 3.5 million, and one of 32 x 32
# windows of 3 x 3 x 64 values 59 million: in training there is one block. Where there are several,
# two launches for each are little beside 512 MiB of traffic.
SCRATCH = 2**26
PLACES = 2**31  # pixels in a batch that the kernels no longer number: 8 GiB of them, or more
LANES = 32  # threads beside each other that share a place, at most: a warp then reads 128 bytes


class CupyWindows(CupySigns):
    """Part of `CupyBackend`: the primitives that look through windows."""

    kernels: Kernels

    def convolve(self, x: Array, W: Array, windows: Windows) -> Array:
        """As the plain body; all windows as the rows of a matrix, times the kernel as another."""
        if not _fits(windows, x.shape, x, W):
            return super().convolve(x, W, windows)
        signs = self.known_signs(x) and self.known_signs(W)
        x = self.xp.ascontiguousarray(x)
        counts, outputs = windows.counts(x.shape), W.shape[-1]
        kernel = W.reshape(-1, outputs)
        if signs:
            self.mark_signs(kernel)
        z = self.xp.empty((len(x), *counts, outputs), dtype=x.dtype)
        for block in _blocks(x.shape, windows):
            rows = self._columns(x[block], windows)
            if signs:
                self.mark_signs(rows)
            self.matmul(rows, kernel, out=z[block].reshape(-1, outputs))
        return z

    def convolve_dw(self, x: Array, dz: Array, windows: Windows, out: Array) -> Array:
        """As the plain body; the same matrix of windows, transposed, times dz.

        It is made anew: to keep it until now would take nine times the memory of x.
        """
        if not _fits(windows, x.shape, x, dz, out) or not out.flags.c_contiguous:
            return super().convolve_dw(x, dz, windows, out)
        x, dz = self.xp.ascontiguousarray(x), self.xp.ascontiguousarray(dz)
        outputs = dz.shape[-1]
        dW = out.reshape(-1, outputs)
        for block in _blocks(x.shape, windows):
            rows, dz_rows = self._columns(x[block], windows), dz[block].reshape(-1, outputs)
            if block.start == 0:
                self.matmul(rows.T, dz_rows, out=dW)
            else:
                dW += self.matmul(rows.T, dz_rows)
        return out

    def convolve_dx(self, dz: Array, W: Array, windows: Windows, shape: tuple[int, ...]) -> Array:
        """As the plain body; one product, then each pixel's sum over the windows that saw it."""
        if not _fits(windows, shape, dz, W):
            return super().convolve_dx(dz, W, windows, shape)
        dz = self.xp.ascontiguousarray(dz)
        outputs = W.shape[-1]
        kernel = W.reshape(-1, outputs)
        dx = self.xp.empty(shape, dtype=dz.dtype)
        for block in _blocks(shape, windows):
            rows = self.matmul(dz[block].reshape(-1, outputs), kernel.T)
            self._each_place("sums_over_windows", windows, shape, dx[block], rows)
        return dx

    def max_pool(self, x: Array, windows: Windows, with_places: bool) -> tuple[Array, Array | None]:
        """As the plain body, in one kernel; for windows whose positions a byte can number."""
        numbered = not with_places or math.prod(windows.size) <= 256
        if not numbered or not _fits(windows, x.shape, x, kinds=C_NAMES):
            return super().max_pool(x, windows, with_places)
        x = self.xp.ascontiguousarray(x)
        y = self.xp.empty(_pooled(x, windows), dtype=x.dtype)
        place = self.xp.empty(y.shape, dtype=np.uint8) if with_places else None
        self._each_place("max_pool", windows, x.shape, y, place, x)
        return y, place

    def window_rows(self, x: Array, windows: Windows) -> Array:
        """As the plain body, in one kernel."""
        if not _fits(windows, x.shape, x, kinds=C_NAMES):
            return super().window_rows(x, windows)
        return self._columns(self.xp.ascontiguousarray(x), windows)

    def max_pool_dx(
        self, dy: Array, place: Array, windows: Windows, shape: tuple[int, ...]
    ) -> Array:
        """As the plain body, in one kernel."""
        if not _fits(windows, shape, dy) or place.dtype != np.uint8:
            return super().max_pool_dx(dy, place, windows, shape)
        dy, place = self.xp.ascontiguousarray(dy), self.xp.ascontiguousarray(place)
        dx = self.xp.empty(shape, dtype=dy.dtype)
        self._each_place("max_pool_dx", windows, shape, dx, dy, place)
        return dx

    def average_pool(self, x: Array, windows: Windows) -> Array:
        """As the plain body, in one kernel."""
        if not _fits(windows, x.shape, x):
            return super().average_pool(x, windows)
        x = self.xp.ascontiguousarray(x)
        y = self.xp.empty(_pooled(x, windows), dtype=x.dtype)
        share = x.dtype.type(windows.share)
        self._each_place("average_pool", windows, x.shape, y, x, share)
        return y

    def average_pool_dx(self, dy: Array, windows: Windows, shape: tuple[int, ...]) -> Array:
        """As the plain body, in one kernel."""
        if not _fits(windows, shape, dy):
            return super().average_pool_dx(dy, windows, shape)
        dy = self.xp.ascontiguousarray(dy)
        dx = self.xp.empty(shape, dtype=dy.dtype)
        share = dy.dtype.type(windows.share)
        self._each_place("average_pool_dx", windows, shape, dx, dy, share)
        return dx

    def _columns(self, x: Array, windows: Windows) -> Array:
        """The matrix of windows: a row for each window, a column for each of its values."""
        values = math.prod(windows.size) * x.shape[-1]
        rows = self.xp.empty((len(x) * math.prod(windows.counts(x.shape)), values), dtype=x.dtype)
        lines = windows.size[0]  # of a window; each is for other threads
        self._each_place("columns_of_windows", windows, x.shape, rows, x, lines=lines)
        return rows

    def _each_place(
        self,
        kernel: str,
        windows: Windows,
        shape: tuple[int, ...],
        result: Array,
        *others: Array | np.generic | None,
        lines: int = 1,
    ) -> None:
        """Launch a kernel whose threads have a place each: all but the last axis of the result.

        Args:
            kernel: its name.
            windows: on the images.
            shape: of the images.
            result: the kernel's first argument.
            others: what follows it.
            lines: into how many the last axis is divided among blocks.
        """
        places, channels = math.prod(result.shape[:-1]), shape[-1]
        values = result.shape[-1] // lines
        lanes = min(LANES, 1 << (values - 1).bit_length())  # few, where there are few channels
        beside = THREADS // lanes
        sizes = (*shape[1:3], *windows.counts(shape), *windows[0], *windows[1], *windows[2])
        numbers = (np.uint32(places), *map(np.int32, (channels, *sizes)))
        self.kernels.launch(
            "windows",
            kernel,
            result.dtype,
            (result, *others, *numbers),
            blocks=(-(-places // beside), lines),
            threads=(lanes, beside),
        )


def _fits(
    windows: Windows, shape: tuple[int, ...], *arrays: Array, kinds: Container[Any] = FLOATS
) -> bool:
    """Whether the kernels can take these windows on images of this shape, and these arrays."""
    return (
        windows.groups == 1
        and math.prod(shape) > 0
        and math.prod(shape[:3]) < PLACES
        and arrays[0].dtype in kinds
        and all(a.dtype == arrays[0].dtype for a in arrays)
    )


def _pooled(x: Array, windows: Windows) -> tuple[int, ...]:
    """The shape of one value for each window and channel."""
    return (len(x), *windows.counts(x.shape), x.shape[-1])


def _blocks(shape: tuple[int, ...], windows: Windows) -> Iterator[slice]:
    """Parts of the batch of so many images that their matrix of windows fits into SCRATCH."""
    batch, *_, channels = shape
    values = math.prod(windows.counts(shape)) * math.prod(windows.size) * channels
    step = max(1, SCRATCH // values)
    return (slice(start, min(start + step, batch)) for start in range(0, batch, step))
