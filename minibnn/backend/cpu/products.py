"""Matrix products of signs on their bits: which products they are, and calling `products.h`.

A product of a binary network has an operand that is -1 and +1 only: the forward product two, each
of its gradients one. C packs such an operand into bits and checks it on the way; so nothing is
remembered from one product to the next, and any other operand goes to the BLAS.
"""

from __future__ import annotations

from functools import lru_cache
from operator import mul
from typing import Any

import numpy as np
from numpy import may_share_memory as overlap

from minibnn.backend.array import Array
from minibnn.backend.cpu.c_kernels import FLOAT32, Library, at, fits

LEFT, RIGHT, BOTH = 2, 4, 8  # which operands may be signs: a, b, or both

COSTS: dict[tuple[str, int], tuple[float, ...]] = {}
BLAS = 1.0, 1.0


def product(c: Library, a: Array, b: Array, out: Array | None = None) -> Any:
    """``a @ b`` on bits; NotImplemented if no operand is signs, or if the BLAS is faster.

    Shapes: a (n, k), b (k, m), out (n, m).
    """
    if not a.ndim == 2 == b.ndim or a.shape[1] != len(b):
        return NotImplemented
    kinds = worthwhile(c.instruction_set, *a.shape, b.shape[1])
    return on_bits(c, a, b, out, kinds) if kinds else NotImplemented


def on_bits(c: Library, a: Array, b: Array, out: Array | None, kinds: int) -> Any:
    """``a @ b`` on bits, of the given kinds; NotImplemented for other operands.

    The operands are float32, each stored by rows or by columns, perhaps with gaps between them. Two
    operands of signs give the same bits as the BLAS. If one is signs, the sums are in another
    order, which only the shapes decide.

    Shapes: a (n, k), b (k, m), out (n, m); none is empty.
    """
    if not type(a) is type(b) is np.ndarray:
        return NotImplemented
    if a.dtype != FLOAT32 or b.dtype != FLOAT32 or not (a.flags.aligned and b.flags.aligned):
        return NotImplemented
    (n, k), m = a.shape, b.shape[1]
    if out is None:
        z = np.empty((n, m), FLOAT32)
    elif not fits(out) or out.shape != (n, m) or overlap(out, a) or overlap(out, b):
        return NotImplemented
    else:
        z = out
    done = c.product(n, k, m, *a.strides, *b.strides, kinds, address(a), address(b), at(z))
    return z if done else NotImplemented


@lru_cache(maxsize=1024)
def worthwhile(instruction_set: str, n: int, k: int, m: int) -> int:
    """Which products of these shapes are faster on bits than on the BLAS."""
    if k >= 2**24:  # whole numbers beyond are not exact in float32
        return 0
    kinds = 0
    blas = BLAS[0] + BLAS[1] * n * k * m
    for kind in (LEFT, RIGHT, BOTH):
        costs = COSTS[instruction_set, kind]
        if sum(map(mul, costs, work(kind, n, k, m))) <= blas:
            kinds |= kind
    return kinds


def work(kind: int, n: int, k: int, m: int) -> tuple[int, ...]:
    """What a product does: one call; values packed; tables made; and look-ups or counts."""
    if kind == BOTH:
        return 1, (n + m) * k, 0, -(-n // 4) * -(-k // 32) * -(-m // 32)
    rows, columns = (n, m) if kind == LEFT else (m, n)
    tables = -(-k // 4) * -(-columns // 16)
    return 1, rows * k, -(-rows // 512) * tables, rows * tables


def address(a: Array) -> Any:
    """The address of a matrix stored by rows or by columns, also of one that is read-only."""
    try:
        return at(a if a.flags.c_contiguous else a.T)
    except (TypeError, ValueError, BufferError):
        return a.ctypes.data
