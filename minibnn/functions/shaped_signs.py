"""Signs whose gradient has a shape of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from minibnn.backend import Array, backend_of
from minibnn.checks import number
from minibnn.functions.base import Function
from minibnn.functions.signs import sign


@dataclass(frozen=True)
class ApproxSign(Function):
    """The sign, with the gradient of a piecewise quadratic; mostly for activations.

    .. code-block:: text

        y  = +1 where x >= 0, else -1
        dx = dy (2 - 2|x|) 1[|x| <= 1]      as if y were c (2 - |c|), c = clip(x, -1, 1)

    The closer to the jump, the larger the gradient; it fades to 0 at -1 and 1, without a step.

    Picture: ``plot_function(ApproxSign())``.

    Reference: Liu et al. 2018 (Bi-Real Net), arXiv:1808.00278.

    >>> import numpy as np
    >>> ApproxSign().backward(np.ones(5), np.array([-2.0, -0.5, 0.0, 0.5, 2.0]))
    array([0., 1., 2., 1., 0.])
    """

    def forward(self, x: Array) -> Array:
        """+1 where ``x >= 0``, else -1."""
        return sign(x)

    def backward(self, dy: Array, x: Array) -> Array:
        """``dy (2 - 2|x|)`` inside [-1, 1], 0 outside."""
        return dy * (2 * backend_of(x).xp.maximum(1 - abs(x), 0))

    def surrogate(self, x: Array) -> Array:
        """``2x - x|x|`` inside [-1, 1], the sign outside."""
        c = backend_of(x).xp.clip(x, -1, 1)
        return c * (2 - abs(c))


@dataclass(frozen=True)
class SwishSign(Function):
    """The sign, with the gradient of a sigmoid-weighted curve that overshoots it.

    .. code-block:: text

        u  = beta x
        y  = +1 where x >= 0, else -1
        dx = dy beta (2 - u tanh(u / 2)) / (1 + cosh u)
             as if y were 2 s(u) (1 + u (1 - s(u))) - 1 = tanh(u / 2) + u / (1 + cosh u)

    with s the logistic function. Around ``|u| = 2.4`` the slope turns negative: beyond, the curve
    comes back to the sign from outside. The larger beta, the closer the curve is to the sign.

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
        """``beta x``, held where e^-|u| has long been 0, so that it cannot overflow."""
        beta = float(self.beta)  # a NumPy float64 would turn float32 into its own kind
        limit = 1000 / beta
        return beta * backend_of(x).xp.clip(x, -limit, limit)


@dataclass(frozen=True)
class AdaSTE(Function):
    """The sign, with a gradient that outside [-1, 1] only leads back.

    .. code-block:: text

        y  = +1 where x >= 0, else -1
        dx = dy                     where |x| < 1
        dx = dy 2 / (1 + |x|)       where |x| >= 1 and a step along -dy leads back: x dy > 0
        dx = 0                      where |x| >= 1 otherwise

    A clip blocks outside values for good. Here they can return, more slowly the farther away they
    are, and nothing pushes them farther out. Where backward leads back it is the derivative of
    ``sign(x) (1 + 2 log((1 + |x|) / 2))``, which continues x smoothly at -1 and 1.

    Picture: ``plot_function(AdaSTE())``; the gradients for dy = 1 and dy = -1 differ.

    Reference: Le et al. 2021 (AdaSTE), arXiv:2112.02880, in the piecewise form of Bender.jl's
    ``hardtanh_AdaSTE`` (whose code adds the cases up where it should choose one).

    >>> import numpy as np
    >>> x = np.array([-3.0, -0.5, 0.5, 3.0])
    >>> AdaSTE().backward(np.ones(4), x)
    array([0. , 1. , 1. , 0.5])
    >>> AdaSTE().backward(-np.ones(4), x)
    array([-0.5, -1. , -1. , -0. ])
    """

    def forward(self, x: Array) -> Array:
        """+1 where ``x >= 0``, else -1."""
        return sign(x)

    def backward(self, dy: Array, x: Array) -> Array:
        """`dy` inside, ``dy 2 / (1 + |x|)`` outside and back, 0 outside and away."""
        xp = backend_of(x).xp
        slope = 2 / (1 + xp.maximum(abs(x), 1))  # 1 inside
        return dy * xp.where(self._blocked(x, dy), x.dtype.type(0), slope)

    def surrogate(self, x: Array) -> Array:
        """X inside, ``sign(x) (1 + 2 log((1 + |x|) / 2))`` outside: for a dy that leads back."""
        xp = backend_of(x).xp
        beyond = 2 * xp.log((1 + xp.maximum(abs(x), 1)) / 2)  # 0 inside
        return xp.clip(x, -1, 1) + sign(x) * beyond

    def surrogate_at(self, x0: Array, dy: Array) -> Callable[[Array], Array]:
        """`surrogate`, constant where backward at `x0` blocks this `dy`."""
        xp = backend_of(x0).xp
        blocked, edge = self._blocked(x0, dy), xp.clip(x0, -1, 1)
        return lambda x: xp.where(blocked, edge, self.surrogate(x))

    def _blocked(self, x: Array, dy: Array) -> Array:
        """Where x is outside and a step along -dy does not lead back."""
        return ((x >= 1) & (dy <= 0)) | ((x <= -1) & (dy >= 0))
