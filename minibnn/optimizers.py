"""Optimisers: one update of every parameter from its gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from minibnn.backend import AdamStep, Array
from minibnn.parameter import FlatStore, Parameter, Segment
from minibnn.schedules import Constant, Schedule


class Optimizer(ABC):
    """Holds the parameters in a flat store and updates them in place.

    Make it after ``model.initialize(...)`` and ``model.to(...)``, since it takes the arrays over.
    Each parameter's learning rate is the optimiser's times its own `lr_scale`; its `bound` is
    applied as part of the update.

    Args:
        parameters: usually ``model.parameters()``. What is left out is not trained.
        learning_rate: a positive number, or a schedule: a function from the number of updates
            made so far to a number.

    Attributes:
        steps: how many updates were made. (On a device refused ones count, since nobody looked.)
    """

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float | Schedule) -> None:
        self.learning_rate = learning_rate
        self.steps = 0
        self.store = FlatStore(parameters)
        self.backend = self.store.backend

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self.store.parameters)} parameters, "
            f"{self.store.data.size:,} values, next rate {self.learning_rate:.4g}, "
            f"after {self.steps} steps)"
        )

    @property
    def learning_rate(self) -> float:
        """The rate of the next update; set it to a number or a schedule."""
        return float(self.schedule(self.steps))

    @learning_rate.setter
    def learning_rate(self, rate: float | Schedule) -> None:
        self.schedule = rate if callable(rate) else Constant(rate)

    def step(self, *, only_if: Array | None = None) -> None:
        """Update every parameter from its gradient.

        Args:
            only_if: a 0-d boolean on the parameters' device. Where it is False nothing changes,
                and nobody had to wait to find out.

        Raises:
            RuntimeError: if a parameter was moved or replaced since the optimiser was made.
        """
        self.store.require_intact()
        if self.backend.host and only_if is not None and not only_if:
            return
        rate = self.learning_rate
        self.steps += 1
        for segment in self.store.segments:
            self._update(segment, rate * segment.lr_scale, only_if)

    @abstractmethod
    def _update(self, segment: Segment, learning_rate: float, only_if: Array | None) -> None:
        """Update one run of the flat store."""


class SGD(Optimizer):
    """Gradient descent with (heavy-ball) momentum.

    .. code-block:: text

        u <- momentum u + g
        w <- w - learning_rate u,   then into [-bound, bound]

    Args:
        parameters: see `Optimizer`.
        learning_rate: see `Optimizer`.
        momentum: in [0, 1).

    Reference: Polyak 1964, "Some methods of speeding up the convergence of iteration methods".
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float | Schedule,
        momentum: float = 0.0,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"SGD: expected momentum in [0, 1), got {momentum}")
        super().__init__(parameters, learning_rate)
        self.momentum = momentum
        self._velocity = self.backend.xp.zeros_like(self.store.data)

    def _update(self, segment: Segment, learning_rate: float, only_if: Array | None) -> None:
        xp, part = self.backend.xp, segment.where
        w, g, u = self.store.data[part], self.store.grad[part], self._velocity[part]
        new_u = self.momentum * u + g
        new_w = w - learning_rate * new_u
        if segment.bound is not None:
            new_w = xp.clip(new_w, -segment.bound, segment.bound)
        for old, new in ((u, new_u), (w, new_w)):
            old[...] = new if only_if is None else xp.where(only_if, new, old)


class Adam(Optimizer):
    """Adam: steps of about the learning rate in each coordinate, whatever the gradient's scale.

    The equations stand in `Backend.adam_step`.

    Args:
        parameters: see `Optimizer`.
        learning_rate: see `Optimizer`.
        beta1: decay of the gradients' sum, in [0, 1).
        beta2: decay of their squares' sum, in [0, 1).
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
        if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
            raise ValueError(f"Adam: expected beta1, beta2 in [0, 1), got {beta1}, {beta2}")
        if not epsilon > 0:
            raise ValueError(f"Adam: expected a positive epsilon, got {epsilon}")
        super().__init__(parameters, learning_rate)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self._m = self.backend.xp.zeros_like(self.store.data)
        self._v = self.backend.xp.zeros_like(self.store.data)

    def _update(self, segment: Segment, learning_rate: float, only_if: Array | None) -> None:
        part = segment.where
        numbers = AdamStep(
            learning_rate, self.beta1, self.beta2, self.epsilon, self.steps, segment.bound
        )
        self.backend.adam_step(
            self.store.data[part],
            self.store.grad[part],
            self._m[part],
            self._v[part],
            numbers,
            only_if,
        )
