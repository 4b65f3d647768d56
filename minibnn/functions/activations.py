"""Activations whose backward is their true derivative."""

from __future__ import annotations

from dataclasses import dataclass

from minibnn.backend import Array, backend_of
from minibnn.functions.base import Function
from minibnn.functions.signs import straight_through_gradient


@dataclass(frozen=True)
class Identity(Function):
    """``y = x``, ``dx = dy``."""

    def forward(self, x: Array) -> Array:
        """`x` itself."""
        return x

    def backward(self, dy: Array, x: Array) -> Array:
        """`dy` itself."""
        return dy


@dataclass(frozen=True)
class ReLU(Function):
    """``y = max(x, 0)``, ``dx = dy 1[x > 0]``.

    >>> import numpy as np
    >>> ReLU().forward(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """

    def forward(self, x: Array) -> Array:
        """max(x, 0)."""
        return backend_of(x).xp.maximum(x, 0)

    def backward(self, dy: Array, x: Array) -> Array:
        """`dy` where ``x > 0``, else 0; the derivative at 0 is taken as 0."""
        return dy * (x > 0)


@dataclass(frozen=True)
class Tanh(Function):
    """``y = tanh x``, ``dx = dy (1 - y^2)``."""

    def forward(self, x: Array) -> Array:
        """The hyperbolic tangent of `x`."""
        return backend_of(x).xp.tanh(x)

    def backward(self, dy: Array, x: Array) -> Array:
        """``dy (1 - tanh(x)^2)``."""
        y = self.forward(x)
        return dy * (1 - y * y)


@dataclass(frozen=True)
class HardTanh(Function):
    """``y = clip(x, -1, 1)``, ``dx = dy 1[|x| <= 1]``.

    Reference: Courbariaux et al. 2016, arXiv:1602.02830, equation 5.
    """

    def forward(self, x: Array) -> Array:
        """`x` limited to [-1, 1]."""
        return backend_of(x).xp.clip(x, -1, 1)

    def backward(self, dy: Array, x: Array) -> Array:
        """`dy` inside [-1, 1], edges included, else 0."""
        return backend_of(x).run(straight_through_gradient, dy, x, 1)


@dataclass(frozen=True)
class Sigmoid(Function):
    """``y = 1 / (1 + exp(-x))``, ``dx = dy y (1 - y)``.

    Computed as ``(1 + tanh(x / 2)) / 2``, which is the same number and cannot overflow.

    >>> import numpy as np
    >>> Sigmoid().forward(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """

    def forward(self, x: Array) -> Array:
        """The logistic function of `x`."""
        return 0.5 * (1 + backend_of(x).xp.tanh(0.5 * x))

    def backward(self, dy: Array, x: Array) -> Array:
        """``dy y (1 - y)``."""
        y = self.forward(x)
        return dy * (y * (1 - y))
