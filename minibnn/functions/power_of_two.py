"""Rounding to a power of two, by which hardware multiplies with a shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.functions.base import Function

# For each float: the integer of its size, how many bits its mantissa has, and the mantissa of the
# smallest number that is larger than the square root of 2.
_LAYOUT: dict[Any, tuple[Any, int, int]] = {
    np.dtype(np.float32): (np.uint32, 23, 0x3504F4),
    np.dtype(np.float64): (np.uint64, 52, 0x6A09E667F3BCD),
}


@dataclass(frozen=True)
class PowerOfTwo(Function):
    """The nearest power of two, on the scale of logarithms, with a straight-through gradient.

    .. code-block:: text

        y  = sign(x) 2^round(log2 |x|),   0 where x = 0
        dx = dy                           as if y were x

    A product with y is a shift. y lies between ``x / sqrt(2)`` and ``x sqrt(2)``. NaN stays NaN.
    Below the smallest normal number (1e-38 in float32), y is 0 or that number.

    Reference: "AP2" in Courbariaux et al. 2016, arXiv:1602.02830, algorithm 3.

    >>> import numpy as np
    >>> PowerOfTwo().forward(np.array([-3.0, -0.0, 0.7, 1.0, 1.41, 1.42, 6.0]))
    array([-4. , -0. ,  0.5,  1. ,  1. ,  2. ,  8. ])
    """

    def forward(self, x: Array) -> Array:
        """``sign(x) 2^round(log2 |x|)``."""
        # A float is its sign, its exponent and its mantissa, side by side. Adding to the mantissa
        # what carries sqrt(2) into the exponent rounds it; without mantissa it is a power of two.
        (integer, bits, sqrt2), xp = _LAYOUT[x.dtype], backend_of(x).xp
        y = xp.array(x)
        layout = y.view(integer)
        layout += integer((1 << bits) - sqrt2)
        layout &= integer(~((1 << bits) - 1) & np.iinfo(integer).max)
        xp.copyto(y, x, where=xp.isnan(x))  # several times faster than a `where`
        return y

    def backward(self, dy: Array, x: Array) -> Array:
        """`dy` itself."""
        return dy

    def surrogate(self, x: Array) -> Array:
        """`x` itself."""
        return x
