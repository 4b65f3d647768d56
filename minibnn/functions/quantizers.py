"""Functions onto few values, with the surrogate derivatives that train them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from minibnn.backend import Array, backend_of
from minibnn.functions.base import Function


@dataclass(frozen=True)
class SignSTE(Function):
    """The sign, with a straight-through gradient; for weights and for activations.

    .. code-block:: text

        y  = +1 where x >= 0, else -1
        dx = dy                     clip=None: as if y were x
        dx = dy 1[|x| <= clip]      clip=c:    as if y were clip(x, -c, c)

    ``sign(0) = sign(-0.0) = +1``, here and wherever minibnn takes a sign.

    The clip stops the gradient of values so far from zero that a small step cannot change
    their sign. Activations usually want ``clip=1.0``. Weights that a bound of 1.0 keeps inside
    the clip are the same with and without it.

    Raises:
        ValueError: if `clip` is not a positive number or None.

    NaN stays NaN, so that a broken input shows as a loss that is not finite.

    References: straight-through estimator, Bengio et al. 2013, arXiv:1308.3432; with the clip,
    Courbariaux et al. 2016, arXiv:1602.02830, equations 1 and 4.

    >>> import numpy as np
    >>> x = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    >>> SignSTE().forward(x)
    array([-1., -1.,  1.,  1.,  1.])
    >>> SignSTE(clip=1.0).backward(np.ones(5), x)
    array([0., 1., 1., 1., 0.])
    """

    bits = 1
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise ValueError(
                f"SignSTE: expected clip to be a positive number or None, got {self.clip!r}"
            )

    def forward(self, x: Array) -> Array:
        """+1 where ``x >= 0``, else -1."""
        return backend_of(x).binarize(x)

    def backward(self, dy: Array, x: Array) -> Array:
        """`dy`, or with a clip `dy` inside it (edges included) and 0 outside."""
        if self.clip is None:
            return dy
        return dy * (abs(x) <= self.clip)

    def surrogate(self, x: Array) -> Array:
        """`x`, or with a clip `x` limited to [-clip, clip]."""
        if self.clip is None:
            return x
        return backend_of(x).xp.clip(x, -self.clip, self.clip)
