"""The sign, scaled for each output channel by the mean magnitude of its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minibnn.backend import Array
from minibnn.functions.signs import StraightThrough, sign


@dataclass(frozen=True)
class MagnitudeAwareSign(StraightThrough):
    """The sign times the mean magnitude of its output channel; for weights.

    .. equations::

        a  = mean of |x| over all axes but the last
        y  = a sign(x)
        dx = dy a 1[|x| <= clip]      as if y were clip(x, -clip, clip) times a constant a

    One value takes one bit; each channel also has one real number, the scale a.

    Shapes: x and y (..., channels), a (channels,).

    Picture: ``plot_function(MagnitudeAwareSign())``; all x of the picture are one channel.

    Args:
        clip: where the gradient ends; None disables clipping.

    Raises:
        ValueError: if `clip` is not a positive number or None; from all methods, if x has fewer
            than two axes, and so no channels.

    Reference: Liu et al. 2018 (Bi-Real Net), arXiv:1808.00278.

    >>> import numpy as np
    >>> MagnitudeAwareSign().forward(np.array([[1.0, -4.0], [-2.0, 4.0]]))
    array([[ 1.5, -4. ],
           [-1.5,  4. ]])
    """

    clip: float | None = 1.0

    def scale(self, x: Array) -> Array:
        """``a``, one number for each output channel."""
        if x.ndim < 2:
            raise ValueError(
                f"{self!r}: expected x of shape (..., channels), got {x.shape}; "
                "one channel is x[:, None]"
            )
        return abs(x).mean(axis=tuple(range(x.ndim - 1)))

    def shipped_floats(self, shape: tuple[int, ...]) -> int:
        """One scale for each channel."""
        return shape[-1]

    def forward(self, x: Array) -> Array:
        """``a sign(x)``."""
        return self.scale(x) * sign(x)

    def backward(self, dy: Array, x: Array) -> Array:
        """``dy a`` inside the clip (edges included), 0 outside."""
        return super().backward(dy, x) * self.scale(x)

    def surrogate(self, x: Array) -> Array:
        """``a clip(x, -clip, clip)`` with the a of this x."""
        return self.surrogate_at(x, None)(x)

    def surrogate_at(self, x0: Array, dy: Array) -> Callable[[Array], Array]:
        """``a clip(x, -clip, clip)`` with the a of `x0`."""
        a = self.scale(x0)
        limited = super().surrogate
        return lambda x: a * limited(x)
