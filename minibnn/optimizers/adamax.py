"""AdaMax, and its variant that shifts instead of multiplying."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from minibnn.backend import Array, backend_of
from minibnn.optimizers.base import Descent
from minibnn.optimizers.betas import check_betas
from minibnn.parameter import Parameter, Segment
from minibnn.schedules import Schedule


def adamax(
    w: Array,
    g: Array,
    m: Array,
    u: Array,
    alpha_t: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    bound: float | None,
) -> None:
    """One step of AdaMax, written into `w`, `m` and `u`.

    .. equations::

        m <- beta1 m + (1 - beta1) g
        u <- max(beta2 u, |g| + epsilon)
        w <- w - alpha_t m / u,   then into [-bound, bound]

        alpha_t = learning_rate / (1 - beta1^t)

    Shapes: w, g, m, u (n,), of one dtype; `alpha_t` a number or a 0-d array.
    """
    xp = backend_of(u).xp
    new_m = beta1 * m + (1 - beta1) * g
    new_u = xp.maximum(beta2 * u, abs(g) + epsilon)
    new_w = w - alpha_t * new_m / new_u
    if bound is not None:
        new_w = xp.clip(new_w, -bound, bound)
    backend_of(w).masked_write((m, new_m), (u, new_u), (w, new_w))


def shift_adamax(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    alpha_t: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    bound: float | None,
) -> None:
    """One step of shift-based AdaMax, written into `w`, `m` and `v`.

    .. equations::

        m <- beta1 m + (1 - beta1) g
        v <- max(beta2 v, |g| + epsilon)
        w <- w - alpha_t m / AP2(v),   then into [-bound, bound]

        alpha_t = AP2(learning_rate / (1 - beta1^t))
        AP2(a)  = 2^round(log2(a))       the nearest power of two on a logarithmic scale

    Shapes: w, g, m, v (n,), of one dtype; `alpha_t` a number or a 0-d array.
    """
    xp = backend_of(v).xp
    new_m = beta1 * m + (1 - beta1) * g
    new_v = xp.maximum(beta2 * v, abs(g) + epsilon)
    new_w = w - xp.ldexp(alpha_t * new_m, -nearest_exponent(new_v))
    if bound is not None:
        new_w = xp.clip(new_w, -bound, bound)
    backend_of(w).masked_write((m, new_m), (v, new_v), (w, new_w))


def nearest_exponent(a: Array) -> Array:
    """``round(log2(a))`` of positive numbers, exact since no logarithm is computed."""
    f, exponent = backend_of(a).xp.frexp(a)  # a = f 2^exponent with f in [1/2, 1)
    return exponent - (f * f < 0.5)  # one less below the square root of 1/2


class AdaMax(Descent):
    """AdaMax: Adam with the largest recent gradient instead of the root mean square.

    .. equations::

        m <- beta1 m + (1 - beta1) g
        u <- max(beta2 u, |g| + epsilon)
        w <- w - learning_rate / (1 - beta1^t) * m / u,   then into [-bound, bound]

    t counts the updates from 1. The paper has no epsilon, and so divides 0 by 0 where all
    gradients so far were 0 (a pixel that is always black).

    Args:
        parameters: see `Descent`.
        learning_rate: see `Descent`.
        beta1: decay of the gradients' mean, in [0, 1).
        beta2: decay of the largest gradient, in [0, 1).
        epsilon: the smallest u, positive.

    Reference: Kingma and Ba 2014, arXiv:1412.6980, algorithm 2.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float | Schedule = 2e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        who = type(self).__name__
        self.beta1, self.beta2, self.epsilon = check_betas(who, beta1, beta2, epsilon)
        super().__init__(parameters, learning_rate)
        self._m = self.backend.xp.zeros_like(self.store.data)
        self._u = self.backend.xp.zeros_like(self.store.data)

    def scalars(self, learning_rate: float, step: int) -> tuple[float, ...]:
        """The step size, including the correction of the mean."""
        return (learning_rate / (1 - self.beta1 ** (step + 1)),)

    def update(self, segment: Segment, scalars: Sequence[Any]) -> None:
        """See `adamax`."""
        self.backend.run(adamax, *self._letters(segment, scalars))

    def _letters(self, segment: Segment, scalars: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments of `adamax`, and of `shift_adamax`."""
        part, (alpha_t,) = segment.where, scalars
        w, g, m, u = self.store.data[part], self.store.grad[part], self._m[part], self._u[part]
        return w, g, m, u, alpha_t, self.beta1, self.beta2, self.epsilon, segment.bound


class ShiftAdaMax(AdaMax):
    """AdaMax for arithmetic without multiplications: its step is a bit shift.

    .. equations::

        m <- beta1 m + (1 - beta1) g
        v <- max(beta2 v, |g| + epsilon)
        w <- w - AP2(learning_rate / (1 - beta1^t)) * m / AP2(v),   then into [-bound, bound]

        AP2(a) = 2^round(log2(a))        the nearest power of two on a logarithmic scale

    Two numbers are rounded to powers of two, and only where they are used: the step size,
    including its correction and the parameter's `lr_scale`, and v as a divisor. So ``w`` changes
    by ``m`` shifted by an integer. The stored m and v are not rounded; with the default betas,
    1 - 2^-3 and 1 - 2^-10, each decay is a shift and a subtraction.

    The authors' Torch code differs in three points. It stores the rounded v, which then never
    decays, since the rounding undoes a factor close to 1. It rounds the step size without the
    layer's scale. It adds epsilon to AP2(v).

    Args:
        parameters: see `Descent`.
        learning_rate: see `Descent`; the paper's 2^-10.
        beta1: decay of the gradients' mean, in [0, 1).
        beta2: decay of the largest gradient, in [0, 1).
        epsilon: the smallest v, positive.

    Reference: Courbariaux et al. 2016, arXiv:1602.02830, algorithm 4.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float | Schedule = 2**-10,
        beta1: float = 1 - 2**-3,
        beta2: float = 1 - 2**-10,
        epsilon: float = 2**-27,
    ) -> None:
        super().__init__(parameters, learning_rate, beta1, beta2, epsilon)

    def scalars(self, learning_rate: float, step: int) -> tuple[float, ...]:
        """The step size, including the correction, as a power of two."""
        (alpha_t,) = super().scalars(learning_rate, step)
        return (2.0 ** round(math.log2(alpha_t)) if alpha_t else 0.0,)  # 0 at a schedule's end

    def update(self, segment: Segment, scalars: Sequence[Any]) -> None:
        """See `shift_adamax`."""
        self.backend.run(shift_adamax, *self._letters(segment, scalars))
