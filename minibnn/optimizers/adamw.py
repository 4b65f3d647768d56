"""Adam with decoupled weight decay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from minibnn.checks import number
from minibnn.optimizers.adam import Adam, adam
from minibnn.parameter import Parameter, Segment
from minibnn.schedules import Schedule


class AdamW(Adam):
    """Adam with decoupled weight decay: each step also shrinks the parameters a little.

    .. equations::

        m, v, m^, v^ as in Adam
        w <- w - learning_rate * (weight_decay w + m^ / (sqrt(v^) + epsilon)),
             then into [-bound, bound]

    The decay is no part of the gradient, so Adam's division by the root of v does not undo it.

    A parameter with a bound does not decay, unless ``decay_bounded=True`` asks for it. It is the
    latent weight of a binary one, whose size is how sure its sign is: decay pulls it towards 0, and
    so towards a flip. All other parameters decay, biases and batch norm's too; to leave some out,
    train them by `Adam` in an `OptimizerGroup`.

    Args:
        parameters: see `Descent`.
        learning_rate: see `Descent`. A parameter's `lr_scale` multiplies it here as well.
        beta1: see `Adam`.
        beta2: see `Adam`.
        epsilon: see `Adam`.
        weight_decay: at least 0.
        decay_bounded: whether parameters with a bound decay, too.

    Raises:
        ValueError: also for a learning rate by which ``learning_rate * weight_decay`` is beyond 1.

    Reference: Loshchilov and Hutter 2017, arXiv:1711.05101, algorithm 2. Its schedule multiplier
    is part of the learning rate here, as in other frameworks.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float | Schedule = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        decay_bounded: bool = False,
    ) -> None:
        self.weight_decay = float(number("AdamW", "weight_decay", weight_decay))
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"AdamW: expected weight_decay of at least 0, got {weight_decay}")
        self.decay_bounded = bool(decay_bounded)
        super().__init__(parameters, learning_rate, beta1, beta2, epsilon)

    def scalars(self, learning_rate: float, step: int) -> tuple[float, ...]:
        """Adam's, and ``keep = 1 - learning_rate * weight_decay``."""
        keep = 1 - learning_rate * self.weight_decay
        if keep < 0:
            raise ValueError(
                f"AdamW: expected learning_rate * weight_decay of at most 1, got {1 - keep:.6g}; "
                "use a smaller weight_decay"
            )
        return (*super().scalars(learning_rate, step), keep)

    def update(self, segment: Segment, scalars: Sequence[Any]) -> None:
        """``w <- keep w``, then the step of `adam`; both or none."""
        alpha_t, epsilon_hat, keep = scalars
        if not self.weight_decay or (segment.bound is not None and not self.decay_bounded):
            super().update(segment, (alpha_t, epsilon_hat))
            return
        part = segment.where
        w, g, m, v = self.store.data[part], self.store.grad[part], self._m[part], self._v[part]
        new_w = keep * w
        self.backend.run(
            adam, new_w, g, m, v, alpha_t, epsilon_hat, self.beta1, self.beta2, segment.bound
        )
        self.backend.masked_write((w, new_w))
