"""The sign, and the straight-through gradient with an optional clip."""

from __future__ import annotations

import math
from dataclasses import dataclass

from minibnn.backend import Array, backend_of
from minibnn.checks import number
from minibnn.functions.base import Function


def sign(x: Array) -> Array:
    """+1 where ``x >= 0``, else -1, in the dtype of `x`; minibnn uses no other sign.

    Both zeros give +1. NaN stays NaN: otherwise a network of signs would turn it into an ordinary
    value and go on training, with a finite loss and ruined weights.

    Shapes: any; the signs as x.

    >>> import numpy as np
    >>> sign(np.array([-0.5, -0.0, 0.0, 2.0, np.nan]))
    array([-1.,  1.,  1.,  1., nan])
    """
    return backend_of(x).run(binary_sign, x)


def binary_sign(x: Array) -> Array:
    """`sign` in array code."""
    xp, kind = backend_of(x).xp, x.dtype.type
    return xp.where(x >= 0, kind(1), xp.where(xp.isnan(x), x, kind(-1)))


def straight_through_gradient(dy: Array, x: Array, clip: float) -> Array:
    """``dx = dy 1[|x| <= clip]``, as if y were ``clip(x, -clip, clip)``.

    Shapes: dy, x and dx alike.
    """
    return dy * (abs(x) <= clip)


class StraightThrough(Function):
    """A function with the backward of the identity, or of a clip.

    .. equations::

        dx = dy                     clip=None: as if y were x
        dx = dy 1[|x| <= clip]      clip=c:    as if y were clip(x, -c, c)

    A subclass is a dataclass with a field `clip`, and defines `forward`.

    Reference: Bengio et al. 2013, arXiv:1308.3432.
    """

    clip: float | None

    def __post_init__(self) -> None:
        if self.clip is not None:
            object.__setattr__(self, "clip", number(type(self).__name__, "clip", self.clip))
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise ValueError(
                f"{type(self).__name__}: expected clip to be a positive number or None, "
                f"got {self.clip!r}"
            )

    def backward(self, dy: Array, x: Array) -> Array:
        """`dy`; with a clip, `dy` inside it (edges included) and 0 outside."""
        if self.clip is None:
            return dy
        return backend_of(x).run(straight_through_gradient, dy, x, self.clip)

    def surrogate(self, x: Array) -> Array:
        """`x`; with a clip, `x` limited to [-clip, clip]."""
        if self.clip is None:
            return x
        return backend_of(x).xp.clip(x, -self.clip, self.clip)


@dataclass(frozen=True)
class SignSTE(StraightThrough):
    """The sign, with a straight-through gradient; for weights and for activations.

    .. equations::

        y  = +1 where x >= 0, else -1
        dx = dy                     clip=None: as if y were x
        dx = dy 1[|x| <= clip]      clip=c:    as if y were clip(x, -c, c)

    ``sign(0) = sign(-0.0) = +1``, here and wherever minibnn takes a sign.

    The clip stops the gradient of values so far from zero that a small step cannot change
    their sign. Activations usually need ``clip=1.0``. For weights with a bound of 1.0 the clip
    makes no difference, since they never leave it.

    Picture: ``plot_function(SignSTE(clip=1.0))``, and all quantizers in ``docs/quantizers.md``.

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

    clip: float | None = None

    def forward(self, x: Array) -> Array:
        """+1 where ``x >= 0``, else -1."""
        return backend_of(x).run(binary_sign, x)
