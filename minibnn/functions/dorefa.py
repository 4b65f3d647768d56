"""DoReFa's quantizers: activations and weights of k bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minibnn.backend import Array, backend_of
from minibnn.checks import integer
from minibnn.functions.base import Function
from minibnn.functions.bit_width import MAX_BITS
from minibnn.functions.signs import sign


@dataclass(frozen=True)
class DoReFaActivations(Function):
    """The nearest of 2^bits levels from 0 to 1, with a straight-through gradient.

    .. equations::

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

    .. equations::

        n  = 2^bits - 1
        m  = max |tanh x|                          over all of x
        r  = tanh(x) / (2 m) + 1/2                 from 0 to 1
        y  = 2 round(n r) / n - 1                  ties to the even number
        dx = dy (1 - tanh(x)^2) / m                as if y were tanh(x) / m, with m held fixed

    There is no level at 0: an x of 0 goes to the level above. With one bit y is the sign, +1 for 0
    as everywhere here. (The paper has other one-bit weights, scaled by their mean magnitude; see
    `MagnitudeAwareSign`.) If all of x is 0, m counts as 1.

    Backward is straight-through for the rounding and exact for the tanh. It treats m as a
    constant: the gradient of m would go to the single largest weight.

    Picture: ``plot_function(DoReFaWeights(bits=2))``; all x of the picture are the weights.

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
        """``m``, or 1 if that is 0."""
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
