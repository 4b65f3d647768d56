"""Sums over the batch and batch norm on the CPU, for float32.

NumPy's arithmetic is slow along an axis as short as the channels of an image. So each sample is one
row here, and values that exist once for each channel are repeated to the length of a row.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from minibnn.backend.array import MOST_TERMS, Array
from minibnn.backend.cpu.c_kernels import FLOAT32, at, fits
from minibnn.backend.implementations import COMPILED, NUMPY
from minibnn.backend.whole_batch import running


@NUMPY.implements("two_stage_sum")
def two_stage_sum(backend: Any, x: Array, out: Array | None) -> Array:
    """As the reference, with a cached row of ones.

    Allocating a new row took a third of the time for a small batch.
    """
    if not _is_batch(x):
        return NotImplemented
    if len(x) > MOST_TERMS:
        first, second = x[: len(x) // 2], x[len(x) // 2 :]
        return np.add(
            two_stage_sum(backend, first, None), two_stage_sum(backend, second, None), out=out
        )
    ones, rows = _ones(len(x)), _rows(x)
    if x.ndim == 2:
        return np.matmul(ones, rows, out=None if out is None else out[None])[0]
    sums = np.matmul(ones, rows).reshape(-1, x.shape[-1])
    if len(sums) > MOST_TERMS:
        return two_stage_sum(backend, sums, out)
    return sums.sum(axis=0, out=out)


@COMPILED.implements("two_stage_sum", roundings=4)
def sum_in_c(backend: Any, x: Array, out: Array | None) -> Array:
    """In one pass."""
    if not _is_batch(x) or len(x) > MOST_TERMS or not fits(x):
        return NotImplemented
    sums = np.empty(x.shape[-1:], np.float32) if out is None else out
    if sums.shape != x.shape[-1:] or not fits(sums):
        return NotImplemented
    width = x.size // len(x)
    columns = np.empty(width, np.float32)
    backend.c.batch_sums(len(x), width, sums.size, at(x), at(sums), at(columns))
    return sums


@COMPILED.implements("batch_norm", roundings=4)
def batch_norm_in_c(backend: Any, x: Array, gamma: Any, beta: Array, epsilon: float) -> Any:
    """In three passes; of a batch in parts, between them the parts' sums are added up."""
    if not _is_batch(x, gamma, beta) or not fits(x, beta) or not _fits_or_none(gamma):
        return NotImplemented
    y, x_hat = np.empty(x.shape, np.float32), np.empty(x.shape, np.float32)
    stats = np.empty((3, beta.size), np.float32)
    width = x.size // len(x)
    scratch, sizes = np.empty(3 * width, np.float32), (len(x), width, beta.size)
    part = running.part
    if part is None:
        arrays = x, gamma, beta, y, x_hat, stats, scratch
        backend.c.batch_norm(*sizes, *map(_at, arrays), epsilon)
        return y, x_hat, *stats
    mean, var, inv_std = stats
    backend.c.batch_sums(*sizes, at(x), at(mean), at(scratch))
    n, sums = part.over_whole_batch(math.prod(x.shape[:-1]), mean)
    np.divide(sums, n, out=mean)
    backend.c.center(*sizes, at(x), at(mean), at(x_hat), at(var), at(scratch))
    n, sums = part.over_whole_batch(math.prod(x.shape[:-1]), var)
    np.divide(sums, n, out=var)
    np.divide(np.sqrt(var + epsilon), var + epsilon, out=inv_std)
    backend.c.scale_centered(*sizes, *map(_at, (inv_std, gamma, beta, x_hat, y, scratch)))
    return y, x_hat, mean, var, inv_std


@NUMPY.implements("batch_norm")
def batch_norm(backend: Any, x: Array, gamma: Any, beta: Array, epsilon: float) -> Any:
    """On rows, with fewer temporaries."""
    if running.part or not _is_batch(x, gamma, beta):
        return NotImplemented
    rows, n = _rows(x), math.prod(x.shape[:-1])
    mean = two_stage_sum(backend, x, None) / n
    x_hat = rows - _repeat(mean, rows)
    var = two_stage_sum(backend, (x_hat * x_hat).reshape(x.shape), None) / n
    inv_std = np.sqrt(var + epsilon) / (var + epsilon)
    x_hat *= _repeat(inv_std, rows)
    y = x_hat * _repeat(gamma, rows)
    y += _repeat(beta, rows)
    return y.reshape(x.shape), x_hat.reshape(x.shape), mean, var, inv_std


@COMPILED.implements("batch_norm_gradient", roundings=4)
def batch_norm_gradient_in_c(
    backend: Any,
    dy: Array,
    x_hat: Array,
    inv_std: Array,
    gamma: Any,
    dgamma: Array | None,
    dbeta: Array,
    need_dx: bool,
) -> Any:
    """In two passes; of a batch in parts, between them the parts' sums are added up."""
    small = inv_std, gamma, dbeta, 1 if dgamma is None else dgamma
    if not _is_batch(dy, *small) or x_hat.shape != dy.shape:
        return NotImplemented
    if not fits(dy, x_hat) or not all(map(_fits_or_none, small)):
        return NotImplemented
    width, dx = dy.size // len(dy), None
    if need_dx:
        dx = np.empty(dy.shape, np.float32)
        dgamma = np.empty(dbeta.shape, np.float32) if dgamma is None else dgamma
    scratch, sizes = np.empty(3 * width, np.float32), (len(dy), width, inv_std.size)
    part = running.part
    arrays = dy, x_hat, inv_std, gamma, dgamma, dbeta, dx if part is None else None, scratch
    backend.c.batch_norm_gradient(*sizes, *map(_at, arrays))
    if part is not None and need_dx:
        n, *sums = part.over_whole_batch(math.prod(dy.shape[:-1]), dgamma, dbeta)
        arrays = dy, x_hat, inv_std, gamma, *sums, dx, scratch
        backend.c.batch_norm_dx(*sizes, *map(_at, arrays), n)
    return dx


@NUMPY.implements("batch_norm_gradient")
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
    """On rows, with fewer temporaries."""
    small = inv_std, gamma, dbeta, 1 if dgamma is None else dgamma
    if (
        running.part
        or not _is_batch(dy, *small)
        or x_hat.shape != dy.shape
        or x_hat.dtype != FLOAT32
    ):
        return NotImplemented
    two_stage_sum(backend, dy, dbeta)
    if dgamma is None and not need_dx:
        return None
    dgamma = two_stage_sum(backend, dy * x_hat, dgamma)
    if not need_dx:
        return None
    rows, scale, n = _rows(dy), gamma * inv_std, math.prod(dy.shape[:-1])
    dx = rows * _repeat(scale, rows)
    dx -= _rows(x_hat) * _repeat(scale * dgamma / n, rows)
    dx -= _repeat(scale * dbeta / n, rows)
    return dx.reshape(dy.shape)


@NUMPY.implements("normalize")
def normalize(backend: Any, x: Array, mean: Array, scale: Array, shift: Array) -> Any:
    """On rows, without temporaries."""
    if not _is_batch(x, mean, scale, shift):
        return NotImplemented
    rows = _rows(x)
    y = rows - _repeat(mean, rows)
    y *= _repeat(scale, rows)
    y += _repeat(shift, rows)
    return y.reshape(x.shape)


@COMPILED.implements("update_running")
def update_running(
    backend: Any,
    running_mean: Array,
    running_var: Array,
    mean: Array,
    var: Array,
    momentum: float,
    variance_factor: float,
) -> Any:
    """In one pass."""
    arrays = running_mean, running_var, mean, var
    if not running_mean.shape == running_var.shape == mean.shape == var.shape or not fits(*arrays):
        return NotImplemented
    factors = momentum, 1 - momentum, variance_factor
    backend.c.update_running(mean.size, *map(at, arrays), *factors)
    return None


def _is_batch(x: Array, *small: Any) -> bool:
    """Whether `x` is a float32 batch, and each other value is 1, or one float32 per channel."""
    if x.dtype != FLOAT32 or x.ndim < 2 or not x.size:
        return False
    for v in small:
        if v.shape != x.shape[-1:] or v.dtype != FLOAT32 if isinstance(v, np.ndarray) else v != 1:
            return False
    return True


def _fits_or_none(v: Any) -> bool:
    return not isinstance(v, np.ndarray) or fits(v)


def _at(v: Any) -> Any:
    """An array for C; a null pointer for the number 1."""
    return at(v) if isinstance(v, np.ndarray) else None


def _rows(x: Array) -> Array:
    return x if x.ndim == 2 else x.reshape(len(x), -1)


def _repeat(v: Any, rows: Array) -> Any:
    """Values of the channels, repeated for each position of a row."""
    if not isinstance(v, np.ndarray) or v.size == rows.shape[1]:
        return v
    return np.broadcast_to(v, (rows.shape[1] // v.size, v.size)).reshape(-1)


@lru_cache(maxsize=16)
def _ones(n: int) -> Array:
    ones = np.ones((1, n), np.float32)
    ones.flags.writeable = False
    return ones
