"""Signs whose gradient is straight-through: the identity's, inside a clip if there is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.checks import number
from minibnn.functions.base import Function
from minibnn.random_stream import RandomStream


def sign(x: Array) -> Array:
    """+1 where ``x >= 0``, else -1, in the dtype of `x`: the one sign of this library.

    Both zeros give +1. NaN stays NaN: a network of signs would otherwise turn it into an ordinary
    value, train on, and show a finite loss over ruined weights.

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
    """A function whose backward is that of the identity, inside a clip if there is one.

    .. code-block:: text

        dx = dy                     clip=None: as if y were x
        dx = dy 1[|x| <= clip]      clip=c:    as if y were clip(x, -c, c)

    What derives from it is a dataclass with a field `clip`, and has a `forward`.

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
        """`dy`, or with a clip `dy` inside it (edges included) and 0 outside."""
        if self.clip is None:
            return dy
        return backend_of(x).run(straight_through_gradient, dy, x, self.clip)

    def surrogate(self, x: Array) -> Array:
        """`x`, or with a clip `x` limited to [-clip, clip]."""
        if self.clip is None:
            return x
        return backend_of(x).xp.clip(x, -self.clip, self.clip)


@dataclass(frozen=True)
class SignSTE(StraightThrough):
    """The sign, with a straight-through gradient; for weights and for activations.

    .. code-block:: text

        y  = +1 where x >= 0, else -1
        dx = dy                     clip=None: as if y were x
        dx = dy 1[|x| <= clip]      clip=c:    as if y were clip(x, -c, c)

    ``sign(0) = sign(-0.0) = +1``, here and wherever minibnn takes a sign.

    The clip stops the gradient of values so far from zero that a small step cannot change
    their sign. Activations usually want ``clip=1.0``. Weights that a bound of 1.0 keeps inside
    the clip are the same with and without it.

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
        return sign(x)


@dataclass(frozen=True)
class MagnitudeAwareSign(StraightThrough):
    """The sign times the mean magnitude of its output channel; for weights.

    .. code-block:: text

        a  = mean of |x| over all axes but the last
        y  = a sign(x)
        dx = dy a 1[|x| <= clip]      as if y were a clip(x, -clip, clip), with a held fixed

    One value takes one bit; the a of a channel is a real number that goes with it.

    Shapes: x and y (..., channels), a (channels,).

    Picture: ``plot_function(MagnitudeAwareSign())``, which takes the picture's grid for a channel.

    Args:
        clip: where the gradient ends; None disables clipping.

    Raises:
        ValueError: if `clip` is not a positive number or None; from all methods for an x with
            fewer than two axes, which has no channels.

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


@dataclass  # not frozen: its stream moves on with each draw
class StochasticSign(StraightThrough):
    """In training +1 or -1 by a draw whose mean is x, in evaluation the sign.

    .. code-block:: text

        training     y = +1 with probability p = clip((x + 1) / 2, 0, 1), else -1
        evaluation   y = +1 where x >= 0, else -1
        dx = dy                     clip=None: as if y were x
        dx = dy 1[|x| <= clip]      clip=c:    as if y were clip(x, -c, c)

    Between -1 and 1 the mean of y is ``2p - 1 = x``, so that the noise has no bias.

    ``model.initialize(rng)`` seeds its stream; for use outside a layer, call `initialize` itself.
    The same seed gives the same draws on every device, and setting ``stream.count`` back repeats
    them. Give each layer its own object: one that serves two layers draws for both in turn.

    Picture: ``plot_function(StochasticSign(clip=1.0))``; the dashed line is the mean.

    Args:
        clip: where the gradient ends; None disables clipping.

    Raises:
        ValueError: if `clip` is not a positive number or None.
        RuntimeError: from `train_forward` before `initialize`.

    References: Courbariaux et al. 2015 (BinaryConnect), arXiv:1511.00363, equations 2 and 3 for
    weights; Courbariaux et al. 2016, arXiv:1602.02830, equations 2 and 3 for activations.

    >>> import numpy as np
    >>> f = StochasticSign()
    >>> f.initialize(np.random.default_rng(0))
    >>> f.train_forward(np.array([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    array([-1., -1.,  1., -1., -1.,  1., -1.,  1.])
    """

    clip: float | None = None
    stream: RandomStream = field(
        default_factory=RandomStream, init=False, repr=False, compare=False
    )

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the seed of the stream."""
        self.stream.initialize(rng)

    def forward(self, x: Array) -> Array:
        """+1 where ``x >= 0``, else -1."""
        return sign(x)

    def train_forward(self, x: Array) -> Array:
        """+1 with probability ``clip((x + 1) / 2, 0, 1)``, else -1."""
        if self.stream.seed is None:
            raise RuntimeError(
                f"{self!r}: expected a seed for its stream, but none has been drawn; call "
                "model.initialize(rng), or outside a layer the function's own initialize(rng)"
            )
        backend = backend_of(x)
        p = backend.xp.clip((x + 1) / 2, 0, 1)
        u = self.stream.uniform(backend, x.shape, x.dtype)
        # u lies in [0, 1), so u < p never happens for p = 0 and always for p = 1.
        return -sign(u - p)
