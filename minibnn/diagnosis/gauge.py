"""Figures that are measured on the device and judged on the host, with one read-back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from minibnn.backend import Array, Backend
from minibnn.diagnosis.report import Finding

# Gets the figures as numbers and says what is wrong, if anything.
Judge: TypeAlias = Callable[..., Finding | None]


class Gauge:
    """Collects 0-d arrays, each group with the function that judges it.

    Attributes:
        rank: of what is asked next, in the order of the findings.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.rank = 0
        self._asked: list[tuple[int, list[Array], Judge]] = []

    def ask(self, judge: Judge, *figures: Array) -> None:
        """Have `judge` called with these figures as floats, once all have been read."""
        self._asked.append((self.rank, [figure.astype(np.float64) for figure in figures], judge))

    def findings(self) -> Iterator[Finding]:
        """Read every figure and give what the judges found, by rank and in the order of asking."""
        asked = sorted(self._asked, key=lambda group: group[0])
        flat = [figure for _, figures, _ in asked for figure in figures]
        if not flat:
            return
        numbers = iter(self.backend.to_host(self.backend.xp.stack(flat)).tolist())
        for _, figures, judge in asked:
            finding = judge(*(next(numbers) for _ in figures))
            if finding is not None:
                yield finding
