"""The sign with an adaptive straight-through gradient (AdaSTE)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from minibnn.backend import Array, backend_of
from minibnn.functions.base import Function
from minibnn.functions.signs import sign


@dataclass(frozen=True)
class AdaSTE(Function):
    """The sign; its gradient moves values outside [-1, 1] only back towards this range.

    .. equations::

        y  = +1 where x >= 0, else -1
        dx = dy                     where |x| < 1
        dx = dy 2 / (1 + |x|)       where |x| >= 1 and a step along -dy moves back: x dy > 0
        dx = 0                      where |x| >= 1 otherwise

    With a clip, values outside [-1, 1] get no gradient and never return. Here they can return, but
    more slowly the farther away they are, and no gradient pushes them farther out. For a value that
    moves back, backward is the derivative of ``sign(x) (1 + 2 log((1 + |x|) / 2))``; this curve
    continues the line y = x smoothly at -1 and 1.

    Picture: ``plot_function(AdaSTE())``; the gradients for dy = 1 and dy = -1 differ.

    Reference: Le et al. 2021 (AdaSTE), arXiv:2112.02880, in the piecewise form of Bender.jl's
    ``hardtanh_AdaSTE``. (The code there adds up the cases, but should choose one of them.)

    >>> import numpy as np
    >>> x = np.array([-3.0, -0.5, 0.5, 3.0])
    >>> AdaSTE().backward(np.ones(4), x)
    array([0. , 1. , 1. , 0.5])
    >>> AdaSTE().backward(-np.ones(4), x)
    array([-0.5, -1. , -1. , -0. ])
    """

    linear: ClassVar[bool] = False

    def forward(self, x: Array) -> Array:
        """+1 where ``x >= 0``, else -1."""
        return sign(x)

    def backward(self, dy: Array, x: Array) -> Array:
        """`dy` inside; outside, ``dy 2 / (1 + |x|)`` if that moves back, else 0."""
        xp = backend_of(x).xp
        slope = 2 / (1 + xp.maximum(abs(x), 1))  # 1 inside
        return dy * xp.where(self._blocked(x, dy), x.dtype.type(0), slope)

    def surrogate(self, x: Array) -> Array:
        """``x`` inside, ``sign(x) (1 + 2 log((1 + |x|) / 2))`` outside, if dy moves x back."""
        xp = backend_of(x).xp
        beyond = 2 * xp.log((1 + xp.maximum(abs(x), 1)) / 2)  # 0 inside
        return xp.clip(x, -1, 1) + sign(x) * beyond

    def surrogate_at(self, x0: Array, dy: Array) -> Callable[[Array], Array]:
        """`surrogate`, but constant where backward at `x0` blocks this `dy`."""
        xp = backend_of(x0).xp
        blocked, edge = self._blocked(x0, dy), xp.clip(x0, -1, 1)
        return lambda x: xp.where(blocked, edge, self.surrogate(x))

    def _blocked(self, x: Array, dy: Array) -> Array:
        """Where x is outside and a step along -dy does not move it back."""
        return ((x >= 1) & (dy <= 0)) | ((x <= -1) & (dy >= 0))
