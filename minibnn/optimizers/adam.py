"""Adam."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from minibnn.backend import Array, backend_of
from minibnn.optimizers.base import Descent
from minibnn.optimizers.betas import check_betas
from minibnn.parameter import Parameter, Segment
from minibnn.schedules import Schedule


def adam(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    alpha_t: Any,
    epsilon_hat: Any,
    beta1: float,
    beta2: float,
    bound: float | None,
) -> None:
    """One step of Adam, written into `w`, `m` and `v`.

    .. equations::

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        w <- w - alpha_t m / (sqrt(v) + epsilon_hat),   then into [-bound, bound]

    `alpha_t` and `epsilon_hat` include the corrections of both moments: see `Adam.scalars`.

    Shapes: w, g, m, v (n,), of one dtype; `alpha_t` and `epsilon_hat` numbers or 0-d arrays.

    Args:
        w: the parameters, overwritten.
        g: their gradient.
        m: the mean of the gradients, overwritten.
        v: the mean of their squares, overwritten.
        alpha_t: the step size, including the corrections.
        epsilon_hat: epsilon, including the correction of v.
        beta1: see `Adam`.
        beta2: see `Adam`.
        bound: w stays in [-bound, bound]; None for no bound.

    Raises:
        NotFinite: on the host, before anything is written, if a new value is not finite. The fast
            implementations do not check this: all gradients are known to be finite by then. In
            float32, a gradient beyond 1.8e19 still makes v infinite, since its square overflows.

    Reference: Kingma and Ba 2014, arXiv:1412.6980, the end of section 2.
    """
    xp = backend_of(w).xp
    new_m = beta1 * m + (1 - beta1) * g
    new_v = beta2 * v + (1 - beta2) * (g * g)
    new_w = w - alpha_t * (new_m / (xp.sqrt(new_v) + epsilon_hat))
    if bound is not None:
        new_w = xp.clip(new_w, -bound, bound)
    # All three or none; on a device, none if a gradient was not finite.
    backend_of(w).masked_write((m, new_m), (v, new_v), (w, new_w))


class Adam(Descent):
    """Adam: steps of about the learning rate in each coordinate, whatever the gradient's scale.

    .. equations::

        m  <- beta1 m + (1 - beta1) g
        v  <- beta2 v + (1 - beta2) g^2
        m^  = m / (1 - beta1^t)
        v^  = v / (1 - beta2^t)
        w  <- w - learning_rate * m^ / (sqrt(v^) + epsilon),   then into [-bound, bound]

    t counts the updates from 1. The function `adam` computes the same with fewer divisions.

    Args:
        parameters: see `Descent`.
        learning_rate: see `Descent`.
        beta1: decay of the gradients' mean, in [0, 1).
        beta2: decay of the mean of their squares, in [0, 1).
        epsilon: added to the root of the second moment, positive.

    Reference: Kingma and Ba 2014, arXiv:1412.6980, algorithm 1.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float | Schedule = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.beta1, self.beta2, self.epsilon = check_betas("Adam", beta1, beta2, epsilon)
        super().__init__(parameters, learning_rate)
        self._m = self.backend.xp.zeros_like(self.store.data)
        self._v = self.backend.xp.zeros_like(self.store.data)

    def scalars(self, learning_rate: float, step: int) -> tuple[float, ...]:
        """`alpha_t` and `epsilon_hat` of update number ``t = step + 1``.

        .. equations::

            alpha_t     = learning_rate sqrt(1 - beta2^t) / (1 - beta1^t)
            epsilon_hat = epsilon sqrt(1 - beta2^t)

        Both moments start at 0, so m is too small by a factor of ``1 - beta1^t``, and v by
        ``1 - beta2^t``. The factors are the same for all elements, so they are divided out once.
        """
        t = step + 1
        correction = math.sqrt(1 - self.beta2**t)
        return learning_rate * correction / (1 - self.beta1**t), self.epsilon * correction

    def update(self, segment: Segment, scalars: Sequence[Any]) -> None:
        """The step of `adam` for one run of parameters that share a bound."""
        part, (alpha_t, epsilon_hat) = segment.where, scalars
        w, g = self.store.data[part], self.store.grad[part]
        m, v = self._m[part], self._v[part]
        self.backend.run(
            adam, w, g, m, v, alpha_t, epsilon_hat, self.beta1, self.beta2, segment.bound
        )
