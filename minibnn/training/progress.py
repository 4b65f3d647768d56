"""The history of a training, and the losses of the epoch that is running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from minibnn.losses import Metric
from minibnn.state import State, Stateful

if TYPE_CHECKING:
    import pandas as pd


def columns_of(metrics: Sequence[Metric], parts: Sequence[str] = ("train", "test")) -> list[str]:
    """A history's columns for the loss and these metrics.

    >>> from minibnn.losses.metrics import Accuracy
    >>> columns_of([Accuracy()])
    ['loss_train', 'loss_test', 'acc_train', 'acc_test']
    """
    stems = ("loss", *(metric.column for metric in metrics))
    return [f"{stem}_{part}" for stem in stems for part in parts]


class Progress(Stateful):
    """What a training has given so far.

    Args:
        columns: of the history.

    Attributes:
        rows: one list of numbers for each complete epoch.
        losses: those of the running epoch's batches, float64 on the host.
    """

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self.rows: list[list[float]] = []
        self.losses: Any = np.zeros(0)

    def add(self, row: list[float]) -> None:
        """Add the row of an epoch that is complete."""
        self.rows.append(row)
        self.losses = np.zeros(0)

    @contextmanager
    def running(self, losses: Any) -> Iterator[None]:
        """A context in which the running epoch's losses include those of its last batches."""
        before = self.losses
        self.losses = np.concatenate([before, losses])
        try:
            yield
        finally:
            self.losses = before

    def table(
        self, *, captured: bool, interrupted: bool = False, stopped: bool = False
    ) -> pd.DataFrame:
        """The table of the complete epochs."""
        import pandas as pd

        index = pd.RangeIndex(1, len(self.rows) + 1, name="epoch")
        history = pd.DataFrame(self.rows, index=index, columns=self.columns, dtype=float)
        history.attrs |= {"interrupted": interrupted, "captured": captured, "stopped": stopped}
        return history

    def __str__(self) -> str:
        epochs, steps = len(self.rows), len(self.losses)
        whole = f"{epochs:,} epoch" + "s" * (epochs != 1)
        return f"{whole} and {steps:,} step" + "s" * (steps != 1) if steps else whole

    def state(self) -> State:
        """The columns and rows of the history, and the losses."""
        return {
            "columns": list(self.columns),
            "rows": np.array(self.rows, np.float64) if self.rows else None,
            "losses": self.losses.copy() if len(self.losses) else None,
        }

    def restore(self, state: State) -> None:
        """Put a state back.

        Raises:
            ValueError: for a history of other columns.
        """
        if state["columns"] != self.columns:
            raise ValueError(
                f"expected a history of {self.columns}, got one of {state['columns']}; resume the "
                "training of the same model"
            )
        self.rows = [] if state["rows"] is None else state["rows"].tolist()
        self.losses = np.zeros(0) if state["losses"] is None else state["losses"].copy()
