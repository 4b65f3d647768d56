"""The losses of all steps, as the means of a bounded number of spans."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.state import State, Stateful

MOST = 512  # spans


class LossCurve(Stateful):
    """Adds losses up over spans of steps, which become twice as long when there are too many.

    Attributes:
        steps: how many losses were added.
        span: how many steps a span has; the last one may have fewer.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.span = 1
        self._sums: Any = np.zeros(0)

    def add(self, losses: Any) -> None:
        """Add the losses of the next steps."""
        places = (self.steps + np.arange(len(losses))) // self.span
        self.steps += len(losses)
        sums = np.zeros(-(-self.steps // self.span))
        sums[: len(self._sums)] = self._sums
        np.add.at(sums, places, losses)
        while len(sums) > MOST:
            sums = np.append(sums, np.zeros(len(sums) % 2)).reshape(-1, 2).sum(axis=1)
            self.span *= 2
        self._sums = sums

    def means(self) -> Any:
        """The mean loss of each span."""
        counts = np.full(len(self._sums), float(self.span))
        if len(counts):
            counts[-1] = self.steps - self.span * (len(counts) - 1)
        return self._sums / counts

    def state(self) -> State:
        """The sums, and how many steps are in them."""
        return {"steps": self.steps, "span": self.span, "sums": self._sums.copy()}

    def restore(self, state: State) -> None:
        """Put a state back."""
        self.steps, self.span = state["steps"], state["span"]
        self._sums = state["sums"].copy()
