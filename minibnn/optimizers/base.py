"""The base classes of optimisers: in general, with a flat store, and with a learning rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from minibnn.backend import Backend, NotFinite
from minibnn.checks import integer, number
from minibnn.gradient_clock import Backwards
from minibnn.optimizers.diverged import OVERFLOW, DivergedError, diverged, overflowed, wrong_scalars
from minibnn.optimizers.state import FlatOptimizerState, OptimizerState
from minibnn.parameter import FlatStore, Parameter, Segment
from minibnn.schedules import Schedule, rate_of, require_schedule


class Optimizer(OptimizerState, ABC):
    """Changes the parameters it was made with, in place, from their gradients.

    Make it after ``model.initialize(...)`` and ``model.to(...)``, since it takes over the arrays.

    An optimiser of your own derives from `Descent`. Its `update` changes one segment, a part of the
    array of all parameters; its `scalars` returns the numbers that change from step to step, given
    the learning rate and the number of earlier steps. This is gradient descent whose rate falls
    with the root of the number of steps:

    >>> class SlowingDescent(Descent):
    ...     def scalars(self, learning_rate, step):
    ...         return (learning_rate / math.sqrt(step + 1),)
    ...
    ...     def update(self, segment, scalars):
    ...         (rate,) = scalars
    ...         w, g = self.store.data[segment.where], self.store.grad[segment.where]
    ...         new_w = w - rate * g
    ...         if segment.bound is not None:
    ...             new_w = new_w.clip(-segment.bound, segment.bound)
    ...         self.backend.masked_write((w, new_w))

    >>> from minibnn import Fill
    >>> w = Parameter("w", (2,), Fill(1.0), bound=1.0)
    >>> w.initialize(np.random.default_rng(0), np.float32)
    >>> optimizer = SlowingDescent([w], learning_rate=0.5)
    >>> w.grad[...] = [1, -1]
    >>> optimizer.step()
    >>> w.data
    array([0.5, 1. ], dtype=float32)

    Attributes:
        backend: where the parameters live.
    """

    backend: Backend

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.parameters)} parameters)"

    @property
    @abstractmethod
    def parameters(self) -> Sequence[Parameter]:
        """The parameters that it updates."""

    @abstractmethod
    def require_intact(self) -> None:
        """Raise RuntimeError if a parameter was moved or replaced since the optimiser was made."""

    @abstractmethod
    def require_gradients(self) -> None:
        """Raise RuntimeError if another model's gradients were computed since the last step.

        If an optimiser is copied or unpickled without its model, it holds parameters of its own
        that nobody trains. The same happens if the model is copied and the copy is trained. Uses of
        gradients are counted on the host, so nothing is read back.
        """

    @abstractmethod
    def require_finite_gradients(self) -> None:
        """Raise DivergedError, on the host, if a gradient is not finite.

        A device clears the flag of the open update instead: see `Backend.update`.
        """

    @abstractmethod
    def step(self) -> None:
        """Update every parameter from its gradient, unless a gradient is not finite.

        Raises:
            RuntimeError: if a parameter was moved or replaced since the optimiser was made; or if,
                since its last step, gradients of other parameters were computed, but none of its
                own.
            DivergedError: on the CPU, before anything is changed, for a gradient that is nan or
                inf. A device is not waited for: it skips such an update, and later ones within the
                same ``with backend.update():``.
        """


class FlatOptimizer(FlatOptimizerState, Optimizer):
    """Holds the parameters in a flat store and updates it segment by segment.

    Args:
        parameters: usually ``model.parameters()``. Others are not trained.
        rate: a positive number, or a schedule: a function from the number of updates so far to a
            number. Its meaning is up to the optimiser: a learning rate, or Bop's gamma.

    Attributes:
        store: the values and gradients.
        schedule: the rate: a number, or a function of the number of updates.
        backend: where the parameters live.
    """

    _rate_name: ClassVar[str] = "learning rate"
    _most: ClassVar[float] = math.inf  # the largest valid rate
    _scaled: ClassVar[bool] = False  # whether a parameter's lr_scale multiplies it

    def __init__(self, parameters: Iterable[Parameter], rate: float | Schedule) -> None:
        self._set_rate(rate)
        self._steps = 0
        self.store = FlatStore(parameters)
        self.backend = self.store.backend

    def __repr__(self) -> str:
        try:
            rate = f"{self._rate():.4g}"
        except (TypeError, ValueError):  # from a schedule: the next step raises it
            rate = "wrong"
        return (
            f"{type(self).__name__}({len(self.parameters)} parameters, "
            f"{sum(p.size for p in self.parameters):,} values, next "
            f"{self._rate_name.removeprefix('learning ')} {rate}, after {self.steps} steps)"
        )

    @property
    def steps(self) -> int:
        """How many updates were made; on a device, skipped ones count too."""
        return self._steps

    @steps.setter
    def steps(self, steps: int) -> None:
        if steps is not vars(self).get("_steps"):
            self._steps = integer(type(self).__name__, "steps", steps, least=0)

    def _rate(self) -> float:
        rate = self.schedule
        return rate if isinstance(rate, float) else self._scheduled(rate, self._steps)

    def _scheduled(self, schedule: Schedule, step: int) -> float:
        return rate_of(type(self).__name__, self._rate_name, schedule, step, self._most)

    def _set_rate(self, rate: float | Schedule) -> None:
        who = type(self).__name__
        self.schedule: float | Schedule
        if callable(rate):
            self.schedule = require_schedule(who, self._rate_name, rate)
            return
        rate = number(who, self._rate_name, rate)
        if not 0 < rate < math.inf:
            raise ValueError(f"{who}: expected a positive {self._rate_name}, got {rate}")
        self.schedule = float(rate)

    @property
    def parameters(self) -> Sequence[Parameter]:
        """The parameters that it updates."""
        return self.store.parameters

    @abstractmethod
    def update(self, segment: Segment, scalars: Sequence[Any]) -> None:
        """Update one segment of the flat store, from its gradient.

        It ends with a `Backend.masked_write` of everything that it changes. (An implementation
        may compute and write at once, as Adam's kernel does.)

        Args:
            segment: the run.
            scalars: the result of `scalars`, on a device perhaps as 0-d arrays. Compute with them,
                but do not read their values. Do not read `steps` or the rate either: on a device
                they may belong to another step.
        """

    def scalars(self, rate: float, step: int, /) -> tuple[float, ...]:
        """The numbers that change from step to step, for `update`; always the same number of them.

        They depend on the arguments only, and are computed on the host in double precision.

        Args:
            rate: of this step, from the schedule; in a `Descent` it is already multiplied by the
                `lr_scale` of the parameters in the segment.
            step: the number of earlier updates.
        """
        return (rate,)

    def require_intact(self) -> None:
        """Raise RuntimeError if a parameter was moved or replaced since the optimiser was made."""
        self.store.require_intact()

    def require_gradients(self) -> None:
        """See `Optimizer.require_gradients`."""
        self.store.require_gradients(type(self).__name__)

    def require_finite_gradients(self) -> None:
        """Check all gradients in one pass; see `Optimizer.require_finite_gradients`."""
        if not self.backend.all_finite(self.store.grad):
            raise self._diverged_gradient()

    def _diverged_gradient(self) -> DivergedError:
        p = next(p for p in self.parameters if not self.backend.all_finite(p.grad))
        return diverged(f"the gradient of {p!r}", p.grad)

    def scalars_at(self, step: int) -> list[tuple[float, ...]]:
        """The scalars of the step after `step` updates, a tuple for each segment.

        They have the parameters' dtype, as on a device, so that `update` computes the same values
        on both.

        Raises:
            DivergedError: for a rate or a scalar that the parameters' dtype cannot hold.
            TypeError: if `scalars` returned something other than numbers.
        """
        rate, dtype = self.schedule, self.store.data.dtype
        rate = rate if isinstance(rate, float) else self._scheduled(rate, step)
        rates = [rate * s.lr_scale if self._scaled else rate for s in self.store.segments]
        found = [self.scalars(rate, step) for rate in rates]
        most = float(np.finfo(dtype).max)
        try:
            finite = all(-most <= float(n) <= most for numbers in (rates, *found) for n in numbers)
        except (TypeError, ValueError) as error:
            raise wrong_scalars(self, found) from error
        if not finite:
            raise overflowed(f"the step size in {dtype}")
        return [tuple(map(dtype.type, numbers)) for numbers in found]

    def step(self) -> None:
        """Update every parameter from its gradient; see `Optimizer.step`."""
        self.store.require_gradients(type(self).__name__)
        self.update_all(self.scalars_at(self._steps))
        self.store.used = next(Backwards.clock)  # this step's own use of the gradients
        self._steps += 1

    def update_all(self, scalars: Sequence[Sequence[Any]]) -> None:
        """Check all gradients, then update all segments.

        Args:
            scalars: for each segment a tuple of numbers or of 0-d arrays.

        Raises:
            DivergedError: see `Optimizer.step`.
        """
        with self.backend.update():
            if not self.backend.all_finite(self.store.grad):
                raise self._diverged_gradient()
            for segment, of_segment in zip(self.store.segments, scalars, strict=True):
                try:
                    self.update(segment, of_segment)
                except NotFinite as error:
                    raise diverged(OVERFLOW, error.array, "use a smaller learning rate") from None


class Descent(FlatOptimizer):
    """Steps against the gradient by a learning rate.

    Each parameter's learning rate is the optimiser's times its own `lr_scale`; its `bound` is
    applied as part of the update.

    Args:
        parameters: usually ``model.parameters()``. Others are not trained.
        learning_rate: a positive number, or a schedule: a function from the number of updates so
            far to a number of at least 0.

    Raises:
        ValueError: for a setting outside of its range; for no parameters, the same one twice, or
            parameters of different devices or dtypes; from `step`, if the schedule returns a
            negative number, nan or infinity.
        TypeError: if a parameter is not a `Parameter`, or a setting is not a number (``True`` is
            not one); from `step`, if the schedule does not return a number.
        RuntimeError: for parameters without values; from `step`, see `Optimizer`.
    """

    _scaled = True

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float | Schedule) -> None:
        super().__init__(parameters, learning_rate)

    @property
    def learning_rate(self) -> float:
        """The rate of the next update; set it to a number or a schedule."""
        return self._rate()

    @learning_rate.setter
    def learning_rate(self, rate: float | Schedule) -> None:
        self._set_rate(rate)
