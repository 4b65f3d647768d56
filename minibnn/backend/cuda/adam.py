"""Adam on the GPU: one launch for all parameters, also where parts of them have their own rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minibnn.backend.adam import AdamStep
from minibnn.backend.array import Array
from minibnn.backend.base import Backend
from minibnn.backend.capture.questions import questions
from minibnn.backend.cuda.kernels import Kernels, number


class CupyAdam(Backend):
    """Part of `CupyBackend`."""

    kernels: Kernels

    def address(self, a: Array) -> int:
        """Of its first value."""
        return int(a.data.ptr)

    # Where parts end and their bounds, on the device.
    _adam_parts: dict[tuple[Any, ...], tuple[Array, Array]]

    def adam_step(
        self,
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        numbers: AdamStep,
        only_if: Array | None = None,
    ) -> None:
        """As the plain body, in one kernel."""
        rate, epsilon, beta1, beta2, bound = numbers
        kind = w.dtype.type
        arguments = (
            w, g, m, v, self._beside(w),
            *number(rate, w.dtype), *number(epsilon, w.dtype),
            *_decays(beta1, beta2, w.dtype), kind(_limit(bound)), self._alive(only_if),
        )  # fmt: skip
        self.kernels.each("elementwise", "adam", w.dtype, w.size, arguments)

    def adam_steps(
        self,
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        parts: Sequence[tuple[slice, AdamStep]],
        only_if: Array | None = None,
    ) -> None:
        """As the plain body; in one kernel if the numbers lie on the device, as in a recording."""
        numbers = self._in_a_row([n for _, step in parts for n in (step.rate, step.epsilon)])
        if len(parts) == 1 or numbers is None:
            super().adam_steps(w, g, m, v, parts, only_if)
            return
        ends = tuple(part.stop for part, _ in parts)
        limits = tuple(_limit(step.bound) for _, step in parts)
        key = ends, limits, w.dtype
        # Uploaded in the rehearsal of a recording, and found again in the recording.
        if key not in self._adam_parts:
            self._adam_parts[key] = (
                self.asarray(np.array(ends, np.int64)),
                self.asarray(np.array(limits, w.dtype)),
            )
        _, first = parts[0]
        arguments = (
            w, g, m, v, self._beside(w), numbers, *self._adam_parts[key],
            *_decays(first.beta1, first.beta2, w.dtype), self._alive(only_if),
        )  # fmt: skip
        self.kernels.each("elementwise", "adam_parts", w.dtype, w.size, arguments)

    def _in_a_row(self, numbers: list[Any]) -> Array | None:
        """Some numbers as an array, if they stand one after another in one on the device."""
        if not all(isinstance(n, self.array_type) for n in numbers):
            return None
        all_of_them = numbers[0].base
        if all_of_them is None or all_of_them.ndim != 1:
            return None
        start = (self.address(numbers[0]) - self.address(all_of_them)) // all_of_them.itemsize
        row = all_of_them[start : start + len(numbers)]
        wanted = (self.address(row) + i * row.itemsize for i in range(row.size))
        same = row.size == len(numbers) and all(
            self.address(n) == at for n, at in zip(numbers, wanted, strict=True)
        )
        return row if same else None

    def _alive(self, only_if: Any) -> Array | None:
        if only_if is None:
            return None
        alive = self.asarray(only_if)
        if alive.dtype != bool or alive.ndim:
            raise TypeError(
                f"adam_step: expected only_if to be a 0-d boolean, got {alive.dtype} of shape "
                f"{alive.shape}"
            )
        return alive

    def _beside(self, w: Array) -> Array | None:
        """Where the signs of some weights belong, if they are kept."""
        asked = questions()
        return None if asked is None or asked.signs is None else asked.signs.beside(w)


def _decays(beta1: float, beta2: float, dtype: np.dtype[Any]) -> list[np.generic]:
    """What stays of each moment, and what comes in."""
    return [dtype.type(value) for value in (beta1, 1 - beta1, beta2, 1 - beta2)]


def _limit(bound: float | None) -> float:
    return math.inf if bound is None else bound
