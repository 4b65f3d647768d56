"""Sums over the batch, and batch norm, on the GPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import floats
from minibnn.backend.implementations import CUDA
from minibnn.backend.whole_batch import running

THREADS = 1024  # in a block
SHORT = 32  # up to this many rows for a thread there is one chunk, which stays in the block's cache
BLOCKS = 264  # two for each multiprocessor of an H200
MOST_CHUNKS = 128  # each block of the next launch reads the sums of all chunks


class Grid(NamedTuple):
    """How the blocks of a launch cover a matrix (rows, columns).

    Attributes:
        rows: the matrix's rows.
        columns: the matrix's columns.
        chunks: the number of chunks that the rows are divided into.
        chunk: the rows in a chunk; the last chunk may have fewer.
        threads: a block's threads, (columns, rows).
    """

    rows: int
    columns: int
    chunks: int
    chunk: int
    threads: tuple[int, int]

    @classmethod
    def over(cls, rows: int, columns: int) -> Grid:
        """One chunk for few rows or many columns, else enough chunks for all multiprocessors."""
        wide = 1 << (min(columns, 32) - 1).bit_length()
        tall = THREADS // wide
        chunks = 1
        if rows > SHORT * tall:
            across = -(-columns // wide)
            chunks = max(1, min(MOST_CHUNKS, BLOCKS // across, rows // (4 * tall)))
        chunk = -(-rows // chunks)
        return cls(rows, columns, -(-rows // chunk), chunk, (wide, tall))

    def blocks(self, chunks: int) -> tuple[int, int]:
        """The grid's size, for the first `chunks` chunks."""
        return -(-self.columns // self.threads[0]), chunks

    def sizes(self) -> tuple[np.int64, np.int64, np.int64]:
        """The last arguments of each kernel."""
        return np.int64(self.rows), np.int64(self.columns), np.int64(self.chunk)


@CUDA.implements("two_stage_sum", roundings=4)
def two_stage_sum(backend: Any, x: Array, out: Array | None) -> Array:
    """In one kernel; in two where a channel has many values."""
    if not _is_batch(x, out):
        return NotImplemented
    channels = x.shape[-1]
    grid = Grid.over(x.size // channels, channels)
    x = backend.xp.ascontiguousarray(x)
    sums = backend.xp.empty(channels, x.dtype) if out is None else out
    if grid.chunks == 1:
        _launch(backend, "column_sums", grid, 1, (sums, x))
        return sums
    parts = backend.xp.empty((grid.chunks, channels), x.dtype)
    _launch(backend, "column_sums", grid, grid.chunks, (parts, x))
    # The sums of the chunks are a short matrix.
    _launch(backend, "column_sums", Grid.over(grid.chunks, channels), 1, (sums, parts))
    return sums


@CUDA.implements("batch_norm", roundings=4)
def batch_norm(backend: Any, x: Array, gamma: Any, beta: Array, epsilon: float) -> Any:
    """In one kernel; in two where a channel has many values."""
    gamma = _none_for_1(gamma)
    if running.part or not _is_batch(x, gamma, beta):
        return NotImplemented
    xp, grid = backend.xp, Grid.over(x.size // beta.size, beta.size)
    x = xp.ascontiguousarray(x)
    y, x_hat = xp.empty(x.shape, x.dtype), xp.empty(x.shape, x.dtype)
    mean, var, inv_std = xp.empty((3, beta.size), x.dtype)
    parts = None
    if grid.chunks > 1:
        parts = xp.empty((3, grid.chunks, beta.size), x.dtype)
        _launch(backend, "moments", grid, grid.chunks, (parts, x))
    numbers = (x.dtype.type(epsilon), parts, np.int64(grid.chunks))
    arguments = (y, x_hat, mean, var, inv_std, x, gamma, beta, *numbers)
    _launch(backend, "batch_norm", grid, grid.chunks, arguments)
    return y, x_hat, mean, var, inv_std


@CUDA.implements("batch_norm_gradient", roundings=4)
def batch_norm_gradient(
    backend: Any,
    dy: Array,
    x_hat: Array,
    inv_std: Array,
    gamma: Any,
    dgamma: Array | None,
    dbeta: Array,
    need_dx: bool,
) -> Any:
    """In one kernel; in two where a channel has many values."""
    gamma = _none_for_1(gamma)
    if running.part or dy.shape != x_hat.shape or not floats(dy, x_hat):
        return NotImplemented
    if not _is_batch(dy, inv_std, gamma, dgamma, dbeta):
        return NotImplemented
    xp, grid = backend.xp, Grid.over(dy.size // dbeta.size, dbeta.size)
    dy, x_hat = xp.ascontiguousarray(dy), xp.ascontiguousarray(x_hat)
    parts = None
    if grid.chunks > 1:
        parts = xp.empty((2, grid.chunks, dbeta.size), dy.dtype)
        _launch(backend, "gradient_sums", grid, grid.chunks, (parts, dy, x_hat))
    dx = xp.empty(dy.shape, dy.dtype) if need_dx else None
    arguments = (dx, dbeta, dgamma, dy, x_hat, inv_std, gamma, parts, np.int64(grid.chunks))
    _launch(backend, "batch_norm_gradient", grid, grid.chunks if need_dx else 1, arguments)
    return dx


@CUDA.implements("normalize")
def normalize(backend: Any, x: Array, mean: Array, scale: Array, shift: Array) -> Array:
    """In one kernel."""
    if not _is_batch(x, mean, scale, shift):
        return NotImplemented
    x = backend.xp.ascontiguousarray(x)
    y = backend.xp.empty(x.shape, x.dtype)
    arguments = (y, x, mean, scale, shift, np.int64(mean.size))
    backend.kernels.each("batch_norm", "normalize", x.dtype, x.size, arguments)
    return y


@CUDA.implements("update_running")
def update_running(
    backend: Any,
    running_mean: Array,
    running_var: Array,
    mean: Array,
    var: Array,
    momentum: float,
    variance_factor: float,
) -> Any:
    """In one kernel."""
    arrays = (running_mean, running_var, mean, var)
    if not floats(*arrays) or not _are_rows(mean.shape, *arrays):
        return NotImplemented
    number = mean.dtype.type
    numbers = (number(momentum), number(1 - momentum), number(variance_factor), np.int64(mean.size))
    backend.kernels.launch(
        "batch_norm", "update_running", mean.dtype, (*arrays, *numbers), blocks=1, threads=THREADS
    )
    return None


def _launch(
    backend: Any, name: str, grid: Grid, chunks: int, arguments: tuple[object, ...]
) -> None:
    dtype = next(a.dtype for a in arguments if isinstance(a, backend.xp.ndarray))
    backend.kernels.launch(
        "batch_norm",
        name,
        dtype,
        (*arguments, *grid.sizes()),
        blocks=grid.blocks(chunks),
        threads=grid.threads,
    )


def _is_batch(x: Array, *small: Array | None) -> bool:
    """Whether the kernels can take `x`, and the other arrays, which have a value per channel."""
    given = [v for v in small if v is not None]
    if x.ndim < 2 or not x.size or any(isinstance(v, int | float) for v in given):
        return False
    return floats(x, *given) and _are_rows(x.shape[-1:], *given)


def _are_rows(shape: tuple[int, ...], *arrays: Array) -> bool:
    return all(a.shape == shape and a.flags.c_contiguous for a in arrays)


def _none_for_1(gamma: Any) -> Any:
    """A gamma of 1 is a null pointer."""
    return None if isinstance(gamma, int | float) and gamma == 1 else gamma
