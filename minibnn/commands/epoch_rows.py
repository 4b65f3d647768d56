"""The lines of a training's table, one for each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minibnn.commands.terminal import log_line

if TYPE_CHECKING:
    import pandas as pd


class EpochRows:
    """Prints the rows of a history that were not printed yet: at first those of a resumed one.

    Args:
        columns: of the history, to print.
        every: after how many epochs to print a row.
    """

    def __init__(self, columns: Sequence[str], every: int = 1) -> None:
        self.columns = columns
        self.every = every
        self.printed = 0

    def head(self) -> None:
        """Print the names of the columns."""
        log_line("epoch" + "".join(f"  {column}" for column in self.columns))

    def __call__(self, history: pd.DataFrame) -> None:
        """Print the new rows."""
        rows = history.iloc[self.printed :].iterrows()
        for number, (epoch, row) in enumerate(rows, start=self.printed + 1):
            if number % self.every:
                continue
            cells = "".join(f"{row[column]:>{len(column) + 2}.3f}" for column in self.columns)
            log_line(f"{epoch:<5}{cells}")
        self.printed = len(history)
