"""What every optimiser is, and what those have in common that update a flat store."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from minibnn.backend import Array, Backend, backend_of, questions
from minibnn.checks import integer, number
from minibnn.optimizers.diverged import HINT, OVERFLOW, DivergedError
from minibnn.parameter import FlatStore, Parameter, Segment
from minibnn.schedules import Constant, Schedule, rate_of, require_schedule


class Optimizer(ABC):
    """Changes the parameters it was made with, in place, from their gradients.

    Make it after ``model.initialize(...)`` and ``model.to(...)``, since it takes the arrays over.

    One of your own derives from `minibnn.optimizers.Descent` and has an ``_update(segment, numbers,
    only_if)``, as `SGD` has; what else changes from step to step it adds in ``_numbers``.

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

    def require_gradients(self) -> None:  # noqa: B027 (not everybody can tell)
        """Raise RuntimeError if another model's gradients were computed since the last step.

        An optimiser that was copied or unpickled without its model holds parameters of its own,
        which nobody trains; so does one whose model was copied and goes on as the copy. Whether a
        gradient was used at all is noted on the host, so nothing is read back.
        """

    @abstractmethod
    def step(self, *, only_if: Array | None = None) -> None:
        """Update every parameter from its gradient, unless a gradient is not finite.

        Args:
            only_if: a 0-d boolean on the parameters' device. Where it is False nothing changes,
                and nobody had to wait to find out. On a device it becomes False where a gradient
                is nan or inf, so that it carries the verdict on to the next step.

        Raises:
            RuntimeError: if a parameter was moved or replaced since the optimiser was made, or if
                since its last step the gradients of others were computed, but none of its own.
            DivergedError: on the CPU, before anything is changed, for a gradient that is nan or
                inf. A device would have to be waited for; there such an update is left out.
        """

    def judge(self, only_if: Array | None) -> Array | None:
        """`only_if`, False if a gradient is not finite, without a step: see there.

        On the host None for True, since an answer of False is final there.
        """
        return only_if


class FlatOptimizer(Optimizer):
    """Holds the parameters in a flat store and updates it segment by segment.

    Args:
        parameters: usually ``model.parameters()``. What is left out is not trained.
        rate: a positive number, or a schedule: a function from the number of updates made so far
            to a number. What it is the rate of is for the optimiser to say.

    Attributes:
        store: the values and gradients.
    """

    _rate_name: ClassVar[str] = "rate"
    _most: ClassVar[float] = math.inf  # the largest rate that makes sense

    def __init__(self, parameters: Iterable[Parameter], rate: float | Schedule) -> None:
        self._set_rate(rate)
        self._steps = 0
        self.store = FlatStore(parameters)
        self.backend = self.store.backend

    def __repr__(self) -> str:
        try:
            rate = f"{self._rate():.4g}"
        except (TypeError, ValueError):  # of a schedule: the next step says so
            rate = "wrong"
        return (
            f"{type(self).__name__}({len(self.store.parameters)} parameters, "
            f"{self.store.data.size:,} values, next {self._rate_name} {rate}, "
            f"after {self.steps} steps)"
        )

    @property
    def steps(self) -> int:
        """How many updates were made; on a device refused ones count, since nobody looked."""
        asked = questions()
        if asked is not None and asked.recording:
            raise RuntimeError(
                f"{type(self).__name__}: its steps or rate were read while a step is recorded, "
                "which would keep them for ever; take what changes from step to step from _numbers"
            )
        return self._steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self._steps = integer(type(self).__name__, "steps", steps, least=0)

    def _rate(self) -> float:
        return self._rate_at(self.steps)

    def _rate_at(self, step: int) -> float:
        return rate_of(type(self).__name__, self._name(), self.schedule, step, self._most)

    def _name(self) -> str:
        return self._rate_name.replace("rate", "learning rate")

    def _set_rate(self, rate: float | Schedule) -> None:
        who = type(self).__name__
        if callable(rate):
            self.schedule = require_schedule(who, self._name(), rate)
            return
        rate = number(who, self._name(), rate)
        if not 0 < rate < math.inf:
            raise ValueError(f"{who}: expected a positive {self._name()}, got {rate}")
        self.schedule = Constant(rate)

    @property
    def parameters(self) -> Sequence[Parameter]:
        """The parameters that it updates."""
        return self.store.parameters

    def require_intact(self) -> None:
        """Raise RuntimeError if a parameter was moved or replaced since the optimiser was made."""
        self.store.require_intact()

    def require_gradients(self) -> None:
        """See `Optimizer.require_gradients`."""
        self.store.require_gradients(type(self).__name__)

    def step(self, *, only_if: Array | None = None) -> None:
        """Update every parameter from its gradient; see `Optimizer.step`."""
        self.require_intact()
        self.require_gradients()
        only_if = self.judge(only_if)
        if self.backend.host and only_if is not None:
            return
        segments = self.store.segments
        numbers = self.backend.numbers(self._all_numbers, self._steps, self.store.data.dtype)
        each = len(numbers) // len(segments)
        self._update_all(
            [numbers[i * each : (i + 1) * each] for i in range(len(segments))], only_if
        )
        self.store.end_step()  # it has used the gradients itself
        self._steps += 1

    def judge(self, only_if: Array | None) -> Array | None:
        """Look at all gradients in one pass; see `Optimizer`."""
        if self.backend.host and only_if is not None and not only_if:
            return only_if
        all_finite = self._still_finite(only_if, self.store.grad)
        if self.backend.host and not all_finite:
            xp = self.backend.xp
            p = next(p for p in self.parameters if not xp.isfinite(p.grad).all())
            raise _diverged(f"the gradient of {p!r}", p.grad, HINT)
        return None if self.backend.host else all_finite

    def _still_finite(self, only_if: Array | None, a: Array) -> Array:
        """`only_if`, or a new flag on the host and for None: False if `a` is not finite."""
        if only_if is None or self.backend.host:
            only_if = self.backend.xp.ones((), bool)
        self.backend.note_finite(only_if, a)
        return only_if

    def _update_all(self, numbers: list[tuple[Any, ...]], only_if: Array | None) -> None:
        """Update all segments, each from its numbers."""
        for segment, of_segment in zip(self.store.segments, numbers, strict=True):
            self._update(segment, of_segment, only_if)

    def _all_numbers(self, step: int) -> tuple[float, ...]:
        """The numbers of all segments, one after another."""
        rate, dtype = self._rate_at(step), self.store.data.dtype
        numbers = tuple(n for s in self.store.segments for n in self._numbers(s, rate, step))
        most = float(np.finfo(dtype).max)
        if not all(-most <= n <= most for n in numbers):
            hint = "use a smaller learning rate, or a smaller lr_scale"
            raise DivergedError(math.inf, None, None, None, f"the step size in {dtype}", hint)
        return numbers

    @abstractmethod
    def _numbers(self, segment: Segment, rate: float, step: int) -> tuple[float, ...]:
        """What `_update` has to know that changes from step to step, always as many numbers.

        Args:
            segment: of the flat store.
            rate: of this step, from the schedule.
            step: how many updates were made before.
        """

    @abstractmethod
    def _update(self, segment: Segment, numbers: tuple[Any, ...], only_if: Array | None) -> None:
        """Update one run of the flat store.

        Args:
            segment: which.
            numbers: what `_numbers` gave. In a recorded step they are 0-d arrays, so compute with
                them and do not look at them; and read neither `steps` nor the rate here.
            only_if: see `Optimizer.step`.
        """

    def _write(self, only_if: Array | None, *pairs: tuple[Array, Array]) -> None:
        """Write each pair's second array into its first, unless one of them is not finite.

        On the host that is a DivergedError; a device says no, in `only_if`.
        """
        for _, new in pairs:
            all_finite = self._still_finite(only_if, new)
            if self.backend.host and not all_finite:
                raise _diverged(OVERFLOW, new, "use a smaller learning rate")
        for old, new in pairs:
            old[...] = new if only_if is None else self.backend.xp.where(only_if, new, old)


class Descent(FlatOptimizer):
    """Steps against the gradient by a learning rate.

    Each parameter's learning rate is the optimiser's times its own `lr_scale`; its `bound` is
    applied as part of the update.

    Args:
        parameters: usually ``model.parameters()``. What is left out is not trained.
        learning_rate: a positive number, or a schedule: a function from the number of updates
            made so far to a number, at least 0.

    Raises:
        ValueError: for a setting outside of its range; without a parameter, with one twice, or
            with parameters of different devices or dtypes; from `step`, for a schedule that gives
            a negative number, nan or infinity.
        TypeError: for something that is no parameter, or a setting that is no number, such as
            ``True``; from `step`, for a schedule that gives no number.
        RuntimeError: for parameters without values; from `step`, see `Optimizer`.
    """

    def __init__(self, parameters: Iterable[Parameter], learning_rate: float | Schedule) -> None:
        super().__init__(parameters, learning_rate)

    @property
    def learning_rate(self) -> float:
        """The rate of the next update; set it to a number or a schedule."""
        return self._rate()

    @learning_rate.setter
    def learning_rate(self, rate: float | Schedule) -> None:
        self._set_rate(rate)

    def _numbers(self, segment: Segment, rate: float, step: int) -> tuple[float, ...]:
        return (rate * segment.lr_scale,)

    def _bounded(self, segment: Segment, w: Array) -> Array:
        if segment.bound is None:
            return w
        return self.backend.xp.clip(w, -segment.bound, segment.bound)


def _diverged(what: str, a: Array, hint: str) -> DivergedError:
    """The error for an array on the host that is not finite."""
    value = float(a[~backend_of(a).xp.isfinite(a)][0])
    return DivergedError(value, None, None, None, what, hint)


def check_betas(who: str, beta1: float, beta2: float, epsilon: float) -> tuple[float, float, float]:
    """Return the three, or raise unless both decays are in [0, 1) and epsilon is positive."""
    beta1, beta2 = number(who, "beta1", beta1), number(who, "beta2", beta2)
    epsilon = number(who, "epsilon", epsilon)
    if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
        raise ValueError(f"{who}: expected beta1, beta2 in [0, 1), got {beta1}, {beta2}")
    if not 0 < epsilon < math.inf:
        raise ValueError(f"{who}: expected a positive epsilon, got {epsilon}")
    return beta1, beta2, epsilon
