"""Quantizers onto -1, 0 and +1."""

from __future__ import annotations

from dataclasses import dataclass

from minibnn.backend import Array, backend_of
from minibnn.checks import number
from minibnn.functions.signs import StraightThrough, sign


@dataclass(frozen=True)
class Ternary(StraightThrough):
    """-1, 0 or +1 by a fixed threshold, with a straight-through gradient.

    .. equations::

        y  = 0 where |x| < threshold, else sign(x)
        dx = dy 1[|x| <= clip]      as if y were clip(x, -clip, clip); clip=None: as if y were x

    Picture: ``plot_function(Ternary(threshold=0.5))``.

    Args:
        threshold: values of at least this magnitude are not 0; positive.
        clip: where the gradient ends, at least the threshold; None disables clipping.

    Raises:
        ValueError: if `clip` is not a positive number or None, or `threshold` not in (0, clip].

    References: the ternary values, Li et al. 2016, arXiv:1605.04711; the fixed
    threshold and the clip are those of Larq's ``SteTern``.

    >>> import numpy as np
    >>> Ternary().forward(np.array([-2.0, -0.05, -0.04, 0.0, 0.04, 0.05]))
    array([-1., -1.,  0.,  0.,  0.,  1.])
    """

    threshold: float = 0.05
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "threshold", number("Ternary", "threshold", self.threshold))
        if not 0 < self.threshold <= (self.threshold if self.clip is None else self.clip):
            raise ValueError(
                f"Ternary: expected threshold to be positive and at most clip ({self.clip}), "
                f"got {self.threshold!r}"
            )

    def forward(self, x: Array) -> Array:
        """0 where ``|x| < threshold``, else the sign."""
        return _ternary(x, self.threshold)


@dataclass(frozen=True)
class TernaryWeights(StraightThrough):
    """-1, 0 or +1 by a threshold that follows the weights' mean magnitude.

    .. equations::

        c     = clip(x, -clip, clip)                clip=None: c = x
        Delta = 0.7 mean |c|                        over all of x
        y     = 0 where |x| < Delta, else sign(x)   0 where x = 0, also if Delta is 0
        dx    = dy 1[|x| <= clip]                   as if y were c

    For normally distributed weights this Delta is close to optimal. The paper clips neither in
    Delta nor in the gradient (``clip=None``). Larq (0.14) clips in the gradient only: its Delta is
    ``0.7 mean |x|``, so that weights beyond the clip raise Delta. For weights within the clip,
    which a ``weight_bound`` of `clip` ensures, the paper, Larq and this class give the same values.

    Picture: ``plot_function(TernaryWeights())``; all x of the picture are the weights.

    Args:
        clip: where the gradient ends; None disables clipping.

    Raises:
        ValueError: if `clip` is not a positive number or None.

    Reference: Li et al. 2016 (ternary weight networks), arXiv:1605.04711.

    >>> import numpy as np
    >>> TernaryWeights().forward(np.array([-0.9, -0.3, 0.0, 0.2, 0.6]))  # Delta = 0.28
    array([-1., -1.,  0.,  0.,  1.])
    """

    clip: float | None = 1.0

    def threshold(self, x: Array) -> Array:
        """``Delta``, one number for all of `x`."""
        return 0.7 * abs(self.surrogate(x)).mean()

    def forward(self, x: Array) -> Array:
        """0 where ``|x| < Delta``, else the sign."""
        return _ternary(x, self.threshold(x))


def _ternary(x: Array, threshold: Array | float) -> Array:
    """0 where ``|x| < threshold`` and where x is 0, else the sign; NaN stays NaN."""
    size = abs(x)
    zero = (size < threshold) | (size == 0)
    return backend_of(x).xp.where(zero, x.dtype.type(0), sign(x))
