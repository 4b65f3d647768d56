"""The step from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

from minibnn.backend import Array
from minibnn.functions.signs import StraightThrough, sign


@dataclass(frozen=True)
class Heaviside(StraightThrough):
    """0 or 1, with a straight-through gradient; for activations that are on or off.

    .. equations::

        y  = 1 where x > 0, else 0
        dx = dy 1[|x| <= clip]      as if y were 1/2 + clip(x, -clip, clip); clip=None: 1/2 + x

    +0.0 and -0.0 give 0.

    Picture: ``plot_function(Heaviside())``.

    Args:
        clip: where the gradient ends; None disables clipping.

    Raises:
        ValueError: if `clip` is not a positive number or None.

    References: Bengio et al. 2013, arXiv:1308.3432; the clip at 1 is that of Larq's
    ``SteHeaviside``.

    >>> import numpy as np
    >>> Heaviside().forward(np.array([-1.0, 0.0, 0.1]))
    array([0., 0., 1.])
    """

    clip: float | None = 1.0

    def forward(self, x: Array) -> Array:
        """1 where ``x > 0``, else 0."""
        # The sign of 0 is +1, so that of -x is +1 exactly where x <= 0.
        return (1 - sign(-x)) / 2

    def surrogate(self, x: Array) -> Array:
        """``1/2 + clip(x, -clip, clip)``."""
        return 0.5 + super().surrogate(x)
