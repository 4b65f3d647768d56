"""Sums over channels and batch norm on the GPU: the launches of `cuda/channels.cu`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.channels import Channels
from minibnn.backend.cuda.kernels import Kernels, floats

THREADS = 1024  # in a block
SHORT = 32  # as many rows for a thread are still one chunk: its block finds them in cache again
BLOCKS = 264  # two for each multiprocessor of an H200
MOST_CHUNKS = 128  # whose sums each block of the next launch reads again


class Grid(NamedTuple):
    """How the blocks of a launch lie on a matrix (rows, columns).

    Attributes:
        rows: of the matrix.
        columns: of the matrix.
        chunks: into how many pieces the rows are cut.
        chunk: rows in each of them; the last one may have fewer.
        threads: (columns, rows) of a block's threads.
    """

    rows: int
    columns: int
    chunks: int
    chunk: int
    threads: tuple[int, int]

    @classmethod
    def over(cls, rows: int, columns: int) -> Grid:
        """One chunk for few rows or many columns, else enough for all multiprocessors."""
        wide = 1 << (min(columns, 32) - 1).bit_length()
        tall = THREADS // wide
        chunks = 1
        if rows > SHORT * tall:
            across = -(-columns // wide)
            chunks = max(1, min(MOST_CHUNKS, BLOCKS // across, rows // (4 * tall)))
        chunk = -(-rows // chunks)
        return cls(rows, columns, -(-rows // chunk), chunk, (wide, tall))

    def blocks(self, chunks: int) -> tuple[int, int]:
        """Of the grid, for the first `chunks` chunks."""
        return -(-self.columns // self.threads[0]), chunks

    def sizes(self) -> tuple[np.int64, np.int64, np.int64]:
        """The last arguments of each kernel."""
        return np.int64(self.rows), np.int64(self.columns), np.int64(self.chunk)


class CupyChannels(Channels):
    """Part of `CupyBackend`."""

    kernels: Kernels

    def channel_sums(self, rows: Array, channels: int, out: Array | None = None) -> Array:
        """As the plain body, in one kernel; in two where there are many rows."""
        if not _fits(rows, channels, rows) or not _takes(out, rows, channels):
            return super().channel_sums(rows, channels, out)
        return self._column_sums(rows, None, channels, out)

    def channel_dots(self, a: Array, b: Array, channels: int, out: Array | None = None) -> Array:
        """As `channel_sums`: the products are never written."""
        if a.shape != b.shape or not _fits(a, channels, a, b) or not _takes(out, a, channels):
            return super().channel_dots(a, b, channels, out)
        return self._column_sums(a, b, channels, out)

    def standardize(
        self, rows: Array, channels: int, epsilon: float
    ) -> tuple[Array, Array, Array, Array]:
        """As the plain body, in one kernel; in two where there are many rows."""
        if not _fits(rows, channels, rows):
            return super().standardize(rows, channels, epsilon)
        return self._batch_norm(None, rows, None, None, channels, epsilon)

    def batch_norm(
        self, rows: Array, gamma: Array | None, beta: Array, epsilon: float
    ) -> tuple[Array, Array, Array, Array, Array]:
        """As the plain body, in one kernel; in two where there are many rows."""
        parameters = [a for a in (gamma, beta) if a is not None]
        if not _fits(rows, beta.size, rows, *parameters):
            return super().batch_norm(rows, gamma, beta, epsilon)
        y = self.xp.empty(rows.shape, rows.dtype)
        return y, *self._batch_norm(y, rows, gamma, beta, beta.size, epsilon)

    def batch_norm_gradient(
        self,
        dy: Array,
        standard: Array,
        inv_std: Array,
        gamma: Array | None,
        dbeta: Array,
        dgamma: Array | None,
        *,
        need_dx: bool = True,
    ) -> Array | None:
        """As the plain body, in one kernel; in two where there are many rows."""
        channels = inv_std.size
        small = [a for a in (inv_std, gamma, dbeta, dgamma) if a is not None]
        if dy.shape != standard.shape or not _fits(dy, channels, dy, standard, *small):
            return super().batch_norm_gradient(
                dy, standard, inv_std, gamma, dbeta, dgamma, need_dx=need_dx
            )
        grid = Grid.over(dy.size // channels, channels)
        dy, standard = self.xp.ascontiguousarray(dy), self.xp.ascontiguousarray(standard)
        parts = None
        if grid.chunks > 1:
            parts = self.xp.empty((2, grid.chunks, channels), dy.dtype)
            self._launch_channels("gradient_sums", grid, grid.chunks, (parts, dy, standard))
        dx = self.xp.empty(dy.shape, dy.dtype) if need_dx else None
        arguments = (dx, dbeta, dgamma, dy, standard, inv_std, gamma, parts, np.int64(grid.chunks))
        self._launch_channels("batch_norm_gradient", grid, grid.chunks if need_dx else 1, arguments)
        return dx

    def update_running(
        self,
        running_mean: Array,
        running_var: Array,
        mean: Array,
        var: Array,
        momentum: float,
        unbias: float = 1.0,
    ) -> None:
        """As the plain body, in one kernel."""
        arrays = (running_mean, running_var, mean, var)
        if not floats(*arrays) or not all(a.flags.c_contiguous for a in arrays):
            super().update_running(running_mean, running_var, mean, var, momentum, unbias)
            return
        number = mean.dtype.type
        numbers = (number(momentum), number(1 - momentum), number(unbias), np.int64(mean.size))
        self.kernels.launch(
            "channels", "update_running", mean.dtype, (*arrays, *numbers), blocks=1, threads=THREADS
        )

    def _column_sums(self, a: Array, b: Array | None, channels: int, out: Array | None) -> Array:
        grid = Grid.over(a.size // channels, channels)
        a = self.xp.ascontiguousarray(a)
        b = None if b is None else self.xp.ascontiguousarray(b)
        sums = self.xp.empty(channels, a.dtype) if out is None else out
        if grid.chunks == 1:
            self._launch_channels("column_sums", grid, 1, (sums, a, b))
            return sums
        parts = self.xp.empty((grid.chunks, channels), a.dtype)
        self._launch_channels("column_sums", grid, grid.chunks, (parts, a, b))
        # The chunks' sums are a short matrix.
        self._launch_channels(
            "column_sums", Grid.over(grid.chunks, channels), 1, (sums, parts, None)
        )
        return sums

    def _batch_norm(
        self,
        y: Array | None,
        rows: Array,
        gamma: Array | None,
        beta: Array | None,
        channels: int,
        epsilon: float,
    ) -> tuple[Array, Array, Array, Array]:
        grid = Grid.over(rows.size // channels, channels)
        rows = self.xp.ascontiguousarray(rows)
        standard = self.xp.empty(rows.shape, rows.dtype)
        mean, var, inv_std = self.xp.empty((3, channels), rows.dtype)
        parts = None
        if grid.chunks > 1:
            parts = self.xp.empty((3, grid.chunks, channels), rows.dtype)
            self._launch_channels("moments", grid, grid.chunks, (parts, rows))
        numbers = (rows.dtype.type(epsilon), parts, np.int64(grid.chunks))
        arguments = (y, standard, mean, var, inv_std, rows, gamma, beta, *numbers)
        self._launch_channels("batch_norm", grid, grid.chunks, arguments)
        return standard, mean, var, inv_std

    def _launch_channels(
        self, name: str, grid: Grid, chunks: int, arguments: tuple[object, ...]
    ) -> None:
        dtype = next(a.dtype for a in arguments if isinstance(a, self.xp.ndarray))
        self.kernels.launch(
            "channels",
            name,
            dtype,
            (*arguments, *grid.sizes()),
            blocks=grid.blocks(chunks),
            threads=grid.threads,
        )


def _fits(rows: Array, channels: int, *arrays: Array) -> bool:
    """Whether the kernels can take these rows, which are among the arrays."""
    if rows.ndim != 2 or not rows.size or rows.shape[1] % channels or not floats(*arrays):
        return False
    return all(a.ndim == 2 or (a.shape == (channels,) and a.flags.c_contiguous) for a in arrays)


def _takes(out: Array | None, rows: Array, channels: int) -> bool:
    """Whether a kernel can write its sums there."""
    return out is None or (
        out.dtype == rows.dtype and out.shape == (channels,) and out.flags.c_contiguous
    )
