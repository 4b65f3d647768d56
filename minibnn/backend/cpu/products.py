"""Matrix products of signs on their bits: which products they are, and calling `products.h`.

A product of a binary network has an operand that is -1 and +1 only: the forward product two, each
of its gradients one. C packs such an operand into bits and checks it on the way; so nothing is
remembered from one product to the next, and any other operand goes to the BLAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cpu.c_kernels import FLOAT32, Library, at, fits

LEFT, RIGHT, BOTH = 2, 4, 8  # which operands may be signs


def product(c: Library, a: Array, b: Array, out: Array | None = None) -> Any:
    """``a @ b`` on bits; NotImplemented if no operand is signs, or if the BLAS is faster.

    Two operands of signs give the same bits as the BLAS. If one is signs, the sums are in another
    order, which only the shapes decide. Each operand is stored by rows or by columns, perhaps with
    gaps between them.

    Shapes: a (n, k), b (k, m), out (n, m).
    """
    if not a.ndim == 2 == b.ndim:
        return NotImplemented
    (n, k), (rows, m) = a.shape, b.shape
    kinds = worthwhile(n, k, m)
    if not kinds or k != rows or not type(a) is type(b) is np.ndarray:
        return NotImplemented
    a_apart, b_apart = distances(a), distances(b)
    if a_apart is None or b_apart is None:
        return NotImplemented
    z = np.empty((n, m), FLOAT32) if out is None else out
    if out is not None and (
        not fits(out)
        or out.shape != (n, m)
        or np.may_share_memory(out, a)
        or np.may_share_memory(out, b)
    ):
        return NotImplemented
    done = c.product(n, k, m, *a_apart, *b_apart, kinds, address(a), address(b), at(z))
    return z if done else NotImplemented


def worthwhile(n: int, k: int, m: int) -> int:
    """Which products of these shapes are faster on bits than on the BLAS."""
    if k >= 2**24:  # whole numbers beyond are not exact in float32
        return 0
    return LEFT | RIGHT | BOTH if n * k * m >= 2**20 else 0


def distances(a: Array) -> tuple[int, int] | None:
    """Floats from row to row and from column to column; None if C cannot take the matrix."""
    if a.dtype != FLOAT32 or not a.flags.aligned:
        return None
    (rows, columns), (down, right) = a.shape, a.strides
    if right == 4 and down >= 4 * columns and down % 4 == 0:
        return down // 4, 1
    if down == 4 and right >= 4 * rows and right % 4 == 0:
        return 1, right // 4
    return None


def address(a: Array) -> Any:
    """The address of a matrix stored by rows or by columns, also of one that is read-only."""
    try:
        return at(a if a.flags.c_contiguous else a.T)
    except (TypeError, ValueError, BufferError):
        return a.ctypes.data
