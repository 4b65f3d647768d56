"""Gradient descent: plain, with momentum, and Adam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minibnn.backend import AdamStep, Array
from minibnn.checks import number
from minibnn.optimizers.base import Descent, check_betas
from minibnn.parameter import Parameter, Segment
from minibnn.schedules import Schedule


class SGD(Descent):
    """Gradient descent with (heavy-ball) momentum.

    .. code-block:: text

        u <- momentum u + g
        w <- w - learning_rate u,   then into [-bound, bound]

    Args:
        parameters: see `Descent`.
        learning_rate: see `Descent`.
        momentum: in [0, 1).

    Reference: Polyak 1964, "Some methods of speeding up the convergence of iteration methods".
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float | Schedule,
        momentum: float = 0.0,
    ) -> None:
        self.momentum = number("SGD", "momentum", momentum)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"SGD: expected momentum in [0, 1), got {momentum}")
        super().__init__(parameters, learning_rate)
        self._velocity = self.backend.xp.zeros_like(self.store.data)

    def _update(self, segment: Segment, numbers: tuple[Any, ...], only_if: Array | None) -> None:
        part, (learning_rate,) = segment.where, numbers
        w, g, u = self.store.data[part], self.store.grad[part], self._velocity[part]
        new_u = self.momentum * u + g
        new_w = self._bounded(segment, w - learning_rate * new_u)
        self._write(only_if, (u, new_u), (w, new_w))


class Adam(Descent):
    """Adam: steps of about the learning rate in each coordinate, whatever the gradient's scale.

    .. code-block:: text

        m  <- beta1 m + (1 - beta1) g
        v  <- beta2 v + (1 - beta2) g^2
        m^  = m / (1 - beta1^t)
        v^  = v / (1 - beta2^t)
        w  <- w - learning_rate * m^ / (sqrt(v^) + epsilon),   then into [-bound, bound]

    t counts the updates from 1. `Backend.adam_step` computes the same with fewer multiplications.

    Args:
        parameters: see `Descent`.
        learning_rate: see `Descent`.
        beta1: decay of the gradients' mean, in [0, 1).
        beta2: decay of their squares' mean, in [0, 1).
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

    def _numbers(self, segment: Segment, rate: float, step: int) -> tuple[float, ...]:
        return AdamStep.folded(
            rate * segment.lr_scale, self.beta1, self.beta2, self.epsilon, step + 1
        )

    def _update(self, segment: Segment, numbers: tuple[Any, ...], only_if: Array | None) -> None:
        part, step = segment.where, self._step(segment, numbers)
        self.backend.adam_step(
            self.store.data[part],
            self.store.grad[part],
            self._m[part],
            self._v[part],
            step,
            only_if,
        )

    def _update_all(self, numbers: list[tuple[Any, ...]], only_if: Array | None) -> None:
        if type(self)._update is not Adam._update:  # somebody's own, segment by segment
            super()._update_all(numbers, only_if)
            return
        parts = [
            (segment.where, self._step(segment, of_segment))
            for segment, of_segment in zip(self.store.segments, numbers, strict=True)
        ]
        store = self.store
        self.backend.adam_steps(store.data, store.grad, self._m, self._v, parts, only_if)

    def _step(self, segment: Segment, numbers: tuple[Any, ...]) -> AdamStep:
        rate, epsilon = numbers
        return AdamStep(rate, epsilon, self.beta1, self.beta2, segment.bound)
