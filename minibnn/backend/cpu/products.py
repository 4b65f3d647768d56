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

# Nanoseconds for each unit of `work`, fitted to benchmarks/results/bits.csv by benchmarks/bits.py;
# but a call takes 2 us less than it did then.
COSTS = {
    ("avx512_vpopcntdq", LEFT): (4070, 0.0709, 14.4, 0.416),
    ("avx512_vpopcntdq", RIGHT): (4030, 0.0321, 17.4, 0.554),
    ("avx512_vpopcntdq", BOTH): (5120, 0.0619, 0, 5.9),
    ("avx512", LEFT): (4070, 0.0723, 14.5, 0.419),
    ("avx512", RIGHT): (4020, 0.0319, 17.4, 0.556),
    ("avx512", BOTH): (5450, 0.0603, 0, 14.7),
    ("avx2", LEFT): (3890, 0.0912, 13.3, 0.454),
    ("avx2", RIGHT): (4050, 0.0294, 16.7, 0.613),
    ("avx2", BOTH): (4880, 0.0724, 0, 15.4),
    ("portable", LEFT): (4010, 0.147, 21, 0.714),
    ("portable", RIGHT): (4130, 0.089, 25.6, 0.935),
    ("portable", BOTH): (4880, 0.128, 0, 41.1),
}
# Nanoseconds of the BLAS: for a call, and for each product of two numbers. These are among its best
# in that table, on one thread. A processor that only has SSE or NEON was not measured; vectors are
# half as long there.
BLAS_CALL, BLAS_PRODUCT = 1000, 0.017
BLAS_PRODUCT_PORTABLE = 0.034
# OpenBLAS does not use its own threads for products up to this size.
BLAS_ALONE = 2**18
# From this size on, finding that an operand is not mostly zeros takes less than 5 % of a product.
WORTH_SKIPPING = 2**22


def product(c: Library, a: Array, b: Array, out: Array | None = None) -> Array:
    """``a @ b``: on bits if an operand is signs and that is faster, else by the BLAS.

    If `a` is mostly zeros, such as pixels or their transpose, its zeros are skipped.

    Shapes: a (..., n, k), b (..., k, m), out (..., n, m).
    """
    if a.ndim == 2 == b.ndim and a.shape[1] == len(b):
        kinds = worthwhile(c.instruction_set, *a.shape, b.shape[1])
        if kinds:  # a real operand is told apart by its first value, in no time
            left, right = abs(a.item(0)) == 1, abs(b.item(0)) == 1
            kinds &= LEFT * left | RIGHT * right | BOTH * (left and right)
        if kinds:
            z = on_bits(c, a, b, out, kinds)
            if z is not NotImplemented:
                return z
        products = a.size * b.shape[1]
        if products > WORTH_SKIPPING and a.item(0) == 0:  # mostly zeros, perhaps
            z = by_address(c.sparse_product, a, b, out)
            if z is not NotImplemented:
                return z
        if products > BLAS_ALONE and c.threads() > 1:
            z = by_address(c.blas_product, a, b, out)
            if z is not NotImplemented:
                return z
    return np.matmul(a, b, out=out)


def on_bits(c: Library, a: Array, b: Array, out: Array | None, kinds: int) -> Any:
    """``a @ b`` on bits, of the given kinds; NotImplemented for other operands.

    The operands are float32, each stored by rows or by columns, perhaps with gaps between them. Two
    operands of signs give the same bits as the BLAS. If one is signs, the sums are in another
    order, which only the shapes decide.

    Shapes: a (n, k), b (k, m), out (n, m); none is empty.
    """
    z = place(a, b, out)
    if z is None:
        return NotImplemented
    shape = *a.shape, b.shape[1]
    done = c.product(*shape, *a.strides, *b.strides, kinds, at(a), at(b), at(z))
    return z if done else NotImplemented


def by_address(function: Any, a: Array, b: Array, out: Array | None) -> Any:
    """``a @ b`` by a function of C; NotImplemented if it declines.

    `sparse_product` skips the zeros of an `a` that is mostly zeros (`sparse.h`), and declines
    others. `blas_product` is the BLAS on the threads of `threads.c`.
    """
    z = place(a, b, out)
    if z is None:
        return NotImplemented
    shape = *a.shape, b.shape[1]
    done = function(*shape, *a.strides, *b.strides, at(a), at(b), at(z))
    return z if done else NotImplemented


def place(a: Array, b: Array, out: Array | None) -> Array | None:
    """An array for ``a @ b``, `out` if it is given; None if C cannot compute the product."""
    if not type(a) is type(b) is np.ndarray:
        return None
    if a.dtype != FLOAT32 or b.dtype != FLOAT32 or not (a.flags.aligned and b.flags.aligned):
        return None
    shape = len(a), b.shape[1]
    if out is None:
        return np.empty(shape, FLOAT32)
    fitting = fits(out) and out.shape == shape
    return out if fitting and not (overlap(out, a) or overlap(out, b)) else None


@lru_cache(maxsize=1024)
def worthwhile(instruction_set: str, n: int, k: int, m: int) -> int:
    """Which products of these shapes are faster on bits than on the BLAS."""
    if k >= 2**24:  # whole numbers beyond are not exact in float32
        return 0
    kinds = 0
    each = BLAS_PRODUCT_PORTABLE if instruction_set == "portable" else BLAS_PRODUCT
    blas = BLAS_CALL + each * n * k * m
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
