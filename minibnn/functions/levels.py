"""Quantizers onto levels other than -1 and +1: ternary, 0 and 1, k bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minibnn.backend import Array, backend_of
from minibnn.checks import integer, number
from minibnn.functions.base import Function
from minibnn.functions.signs import StraightThrough, sign
from minibnn.functions.values import MAX_BITS


@dataclass(frozen=True)
class Ternary(StraightThrough):
    """-1, 0 or +1 by a fixed threshold, with a straight-through gradient.

    .. code-block:: text

        y  = 0 where |x| < threshold, else sign(x)
        dx = dy 1[|x| <= clip]      as if y were clip(x, -clip, clip); clip=None: as if y were x

    Picture: ``plot_function(Ternary(threshold=0.5))``.

    Args:
        threshold: from where on a value is not 0; positive.
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

    .. code-block:: text

        c     = clip(x, -clip, clip)                clip=None: c = x
        Delta = 0.7 mean |c|                        over all of x
        y     = 0 where |x| < Delta, else sign(x)   0 where x = 0, also if Delta is 0
        dx    = dy 1[|x| <= clip]                   as if y were c

    For normally distributed weights this Delta is near the one that loses least. The paper has
    neither the clip in Delta nor in the gradient (``clip=None``). Larq (0.14) has it in the
    gradient alone: its Delta is ``0.7 mean |x|``, so that weights beyond the clip raise it. Weights
    within it, which a ``weight_bound`` of `clip` ensures, get the same values in all three.

    Picture: ``plot_function(TernaryWeights())``, which takes the picture's grid for the weights.

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


@dataclass(frozen=True)
class Heaviside(StraightThrough):
    """0 or 1, with a straight-through gradient; for activations that are on or off.

    .. code-block:: text

        y  = 1 where x > 0, else 0
        dx = dy 1[|x| <= clip]      as if y were 1/2 + clip(x, -clip, clip); clip=None: 1/2 + x

    Both zeros give 0.

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


@dataclass(frozen=True)
class DoReFaActivations(Function):
    """The nearest of 2^bits levels from 0 to 1, with a straight-through gradient.

    .. code-block:: text

        n  = 2^bits - 1
        y  = round(n clip(x, 0, 1)) / n       ties to the even number
        dx = dy 1[0 <= x <= 1]                as if y were clip(x, 0, 1)

    Picture: ``plot_function(DoReFaActivations(bits=2), limits=(-1, 2))``.

    Args:
        bits: 1 to 16.

    Raises:
        ValueError: if `bits` is not an integer from 1 to 16.

    Reference: Zhou et al. 2016 (DoReFa-Net), arXiv:1606.06160, equations 5 and 6.

    >>> import numpy as np
    >>> DoReFaActivations(bits=1).forward(np.array([-1.0, 0.4, 0.5, 0.6, 2.0]))
    array([0., 0., 0., 1., 1.])
    """

    bits: int = 2

    def __post_init__(self) -> None:
        _check_bits(self)

    def forward(self, x: Array) -> Array:
        """``round(n clip(x, 0, 1)) / n``."""
        n = 2**self.bits - 1
        xp = backend_of(x).xp
        return xp.rint(n * xp.clip(x, 0, 1)) / n

    def backward(self, dy: Array, x: Array) -> Array:
        """`dy` in [0, 1], edges included, else 0."""
        return dy * ((x >= 0) & (x <= 1))

    def surrogate(self, x: Array) -> Array:
        """`x` limited to [0, 1]."""
        return backend_of(x).xp.clip(x, 0, 1)


@dataclass(frozen=True)
class DoReFaWeights(Function):
    """The nearest of 2^bits levels from -1 to 1, after a tanh scaled to fill that range.

    .. code-block:: text

        n  = 2^bits - 1
        m  = max |tanh x|                          over all of x
        r  = tanh(x) / (2 m) + 1/2                 from 0 to 1
        y  = 2 round(n r) / n - 1                  ties to the even number
        dx = dy (1 - tanh(x)^2) / m                as if y were tanh(x) / m, with m held fixed

    There is no level at 0: an x of 0 goes to the one above. With one bit y is the sign, +1 for 0
    as everywhere here. (The paper has other one-bit weights, scaled by their mean magnitude; see
    `MagnitudeAwareSign`.) If all of x is 0, m counts as 1.

    Backward passes the rounding straight through and follows the tanh exactly. m is taken for
    constant: its gradient would go to the single largest weight.

    Picture: ``plot_function(DoReFaWeights(bits=2))``, which takes the picture's grid for the
    weights.

    Args:
        bits: 1 to 16.

    Raises:
        ValueError: if `bits` is not an integer from 1 to 16.

    Reference: Zhou et al. 2016 (DoReFa-Net), arXiv:1606.06160, equation 9.

    >>> import numpy as np
    >>> DoReFaWeights(bits=2).forward(np.array([-2.0, -0.1, 0.0, 0.1, 2.0]))
    array([-1.        , -0.33333333,  0.33333333,  0.33333333,  1.        ])
    """

    bits: int = 2

    def __post_init__(self) -> None:
        _check_bits(self)

    def largest(self, x: Array) -> Array:
        """``m``, or 1 where that is 0."""
        xp = backend_of(x).xp
        m = abs(xp.tanh(x)).max()
        return xp.where(m == 0, x.dtype.type(1), m)

    def forward(self, x: Array) -> Array:
        """``2 round(n r) / n - 1``."""
        backend = backend_of(x)
        if self.bits == 1:  # n r = 1/2 at x = 0, which rounding to even would send to -1
            return sign(x)
        n = 2**self.bits - 1
        r = backend.xp.tanh(x) / (2 * self.largest(x)) + 0.5
        return 2 * backend.xp.rint(n * r) / n - 1

    def backward(self, dy: Array, x: Array) -> Array:
        """``dy (1 - tanh(x)^2) / m``."""
        t = backend_of(x).xp.tanh(x)
        return dy * ((1 - t * t) / self.largest(x))

    def surrogate(self, x: Array) -> Array:
        """``tanh(x) / m`` with the m of this x."""
        return self.surrogate_at(x, None)(x)

    def surrogate_at(self, x0: Array, dy: Array) -> Callable[[Array], Array]:
        """``tanh(x) / m`` with the m of `x0`."""
        m = self.largest(x0)
        return lambda x: backend_of(x).xp.tanh(x) / m


def _check_bits(f: DoReFaActivations | DoReFaWeights) -> None:
    try:
        object.__setattr__(f, "bits", integer("", "bits", f.bits, least=1))
        known = f.bits <= MAX_BITS
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(
            f"{type(f).__name__}: expected bits to be an integer from 1 to {MAX_BITS}, "
            f"got {f.bits!r}"
        )
