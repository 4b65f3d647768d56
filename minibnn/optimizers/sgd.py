"""Gradient descent, plain or with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from minibnn.backend import Array, backend_of
from minibnn.checks import number
from minibnn.optimizers.base import Descent
from minibnn.parameter import Parameter, Segment
from minibnn.schedules import Schedule


def sgd(
    w: Array, g: Array, u: Array, learning_rate: Any, momentum: float, bound: float | None
) -> None:
    """One step of gradient descent, written into `w` and `u`.

    .. equations::

        u <- momentum u + g
        w <- w - learning_rate u,   then into [-bound, bound]

    Shapes: w, g, u (n,), of one dtype; `learning_rate` a number or a 0-d array.
    """
    new_u = momentum * u + g
    new_w = w - learning_rate * new_u
    if bound is not None:
        new_w = backend_of(w).xp.clip(new_w, -bound, bound)
    backend_of(w).masked_write((u, new_u), (w, new_w))


class SGD(Descent):
    """Gradient descent with momentum.

    .. equations::

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
        self._u = self.backend.xp.zeros_like(self.store.data)

    def update(self, segment: Segment, scalars: Sequence[Any]) -> None:
        """See `sgd`."""
        part, (learning_rate,) = segment.where, scalars
        w, g, u = self.store.data[part], self.store.grad[part], self._u[part]
        self.backend.run(sgd, w, g, u, learning_rate, self.momentum, segment.bound)
