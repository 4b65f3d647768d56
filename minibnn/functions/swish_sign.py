"""The sign with the gradient of a sigmoid-weighted curve (BNN+)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from minibnn.backend import Array, backend_of
from minibnn.checks import number
from minibnn.functions.base import Function
from minibnn.functions.signs import sign


@dataclass(frozen=True)
class SwishSign(Function):
    """The sign, with the gradient of a smooth curve that goes a little beyond -1 and +1.

    .. equations::

        u  = beta x
        y  = +1 where x >= 0, else -1
        dx = dy beta (2 - u tanh(u / 2)) / (1 + cosh u)
             as if y were 2 s(u) (1 + u (1 - s(u))) - 1 = tanh(u / 2) + u / (1 + cosh u)

    Here s is the logistic function. Beyond about ``|u| = 2.4`` the slope is negative: the curve
    returns from its extremes to -1 and +1. The larger beta, the closer the curve is to the sign.

    Picture: ``plot_function(SwishSign())``.

    Args:
        beta: positive.

    Raises:
        ValueError: if `beta` is not a positive number.

    Reference: Darabi et al. 2018 (BNN+), arXiv:1812.11800.

    >>> import numpy as np
    >>> SwishSign(beta=5.0).backward(np.ones(3), np.array([-1e30, 0.0, 1e30]))
    array([-0.,  5., -0.])
    """

    beta: float = 5.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", number("SwishSign", "beta", self.beta))
        if not 0 < self.beta < math.inf:
            raise ValueError(f"SwishSign: expected a positive beta, got {self.beta!r}")

    def forward(self, x: Array) -> Array:
        """+1 where ``x >= 0``, else -1."""
        return sign(x)

    def backward(self, dy: Array, x: Array) -> Array:
        """``dy beta (2 - u tanh(u / 2)) / (1 + cosh u)``."""
        xp = backend_of(x).xp
        u = abs(self._scaled(x))  # the slope is even
        e = xp.exp(-u)  # cosh would overflow: 1 / (1 + cosh u) = 2 e / (1 + e)^2
        return dy * (float(self.beta) * (2 - u * xp.tanh(u / 2)) * (2 * e / (1 + e) ** 2))

    def surrogate(self, x: Array) -> Array:
        """``tanh(u / 2) + u / (1 + cosh u)``."""
        xp = backend_of(x).xp
        u = self._scaled(x)
        e = xp.exp(-abs(u))
        return xp.tanh(u / 2) + u * (2 * e / (1 + e) ** 2)

    def _scaled(self, x: Array) -> Array:
        """``beta x``, limited to where e^-|u| is 0 anyway, so that it cannot overflow."""
        beta = float(self.beta)  # a NumPy float64 would turn float32 into float64
        limit = 1000 / beta
        return beta * backend_of(x).xp.clip(x, -limit, limit)
