"""The sign with the gradient of a piecewise quadratic (Bi-Real Net)."""

from __future__ import annotations

from dataclasses import dataclass

from minibnn.backend import Array, backend_of
from minibnn.functions.base import Function
from minibnn.functions.signs import sign


@dataclass(frozen=True)
class ApproxSign(Function):
    """The sign, with the gradient of a piecewise quadratic; mostly for activations.

    .. equations::

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
