"""Figures that are measured on the device and judged on the host, with one read-back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from minibnn.backend import Array, Backend
from minibnn.diagnosis.passes import percent
from minibnn.diagnosis.report import Finding

# Takes the figures as floats; returns a finding, or None if nothing is wrong.
Judge: TypeAlias = Callable[..., Finding | None]


class Gauge:
    """Collects 0-d arrays, each group with the function that judges it.

    Attributes:
        rank: the position of the next figures in the order of the findings.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.rank = 0
        self._asked: list[tuple[int, list[Array], Judge]] = []

    def ask(self, judge: Judge, *figures: Array) -> None:
        """Call `judge` with these figures as floats once all have been read."""
        self._asked.append((self.rank, [figure.astype(np.float64) for figure in figures], judge))

    def findings(self) -> Iterator[Finding]:
        """Read all figures back and yield the findings, by rank and in the order of the calls."""
        asked = sorted(self._asked, key=lambda group: group[0])
        flat = [figure for _, figures, _ in asked for figure in figures]
        if not flat:
            return
        numbers = iter(self.backend.to_host(self.backend.xp.stack(flat)).tolist())
        for _, figures, judge in asked:
            finding = judge(*(next(numbers) for _ in figures))
            if finding is not None:
                yield finding


def above(
    limit: float, severity: str, kind: str, where: str, what: str, meaning: str, hint: str
) -> Judge:
    """Return a judge of a share: a finding if it is above the limit.

    Args:
        limit: the largest share that is not reported.
        severity: as in `Finding`.
        kind: as in `Finding`.
        where: as in `Finding`.
        what: completes `Finding.measured`, "{share} of {what}".
        meaning: as in `Finding`.
        hint: as in `Finding`.
    """

    def judge(share: float) -> Finding | None:
        if share <= limit:
            return None
        return Finding(severity, kind, where, share, f"{percent(share)} of {what}", meaning, hint)

    return judge
