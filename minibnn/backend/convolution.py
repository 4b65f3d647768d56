"""Convolution in plain array code, for any `xp`.

Each works on one position (i, j) of the windows at a time: ``x[:, rows, columns]`` are the pixels
that all windows see there. A convolution is then a sum of matrix products, one for each position.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minibnn.backend.windows import Windows

if TYPE_CHECKING:
    from minibnn.backend.array import Array


def convolve(backend: Any, x: Array, W: Array, windows: Windows) -> Array:
    """``z = sum over i, j of x_ij W[i, j]``."""
    batch, counts = x.shape[0], windows.counts(x.shape)
    groups, outputs = windows.groups, W.shape[-1]
    z = backend.xp.zeros((groups, batch * math.prod(counts), outputs // groups), dtype=x.dtype)
    for i, j, rows, columns in windows.positions(counts):
        x_ij = _by_group(x[:, rows, columns], groups)
        z += backend.matmul(x_ij, _by_group(W[i, j], groups))
    return z.transpose(1, 0, 2).reshape(batch, *counts, outputs)


def convolve_dw(backend: Any, x: Array, dz: Array, windows: Windows, out: Array) -> Array:
    """``dW[i, j] = x_ij.T dz``."""
    groups = windows.groups
    counts, dz = dz.shape[1:3], _by_group(dz, groups)
    for i, j, rows, columns in windows.positions(counts):
        x_ij = _by_group(x[:, rows, columns], groups)
        dW_ij = backend.matmul(x_ij.transpose(0, 2, 1), dz)
        out[i, j] = dW_ij.transpose(1, 0, 2).reshape(out.shape[2:])
    return out


def convolve_dx(
    backend: Any, dz: Array, W: Array, windows: Windows, shape: tuple[int, ...]
) -> Array:
    """``dx_ij += dz W[i, j].T``."""
    groups = windows.groups
    counts, dz = dz.shape[1:3], _by_group(dz, groups)
    dx = backend.xp.zeros(shape, dtype=dz.dtype)
    for i, j, rows, columns in windows.positions(counts):
        dx_ij = backend.matmul(dz, _by_group(W[i, j], groups).transpose(0, 2, 1))
        dx[:, rows, columns] += dx_ij.transpose(1, 0, 2).reshape(shape[0], *counts, shape[-1])
    return dx


def _by_group(a: Array, groups: int) -> Array:
    """(..., channels) as (groups, product of the rest, channels / groups)."""
    return a.reshape(-1, groups, a.shape[-1] // groups).transpose(1, 0, 2)
