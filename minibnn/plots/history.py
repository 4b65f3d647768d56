"""Plot a training history."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, BinaryIO

from minibnn.plots.figure import matplotlib_figure, save_figure

if TYPE_CHECKING:
    import pandas as pd

OF_STEPS = "loss"  # the mean loss of an epoch's steps, if `fit` does not evaluate the training set

PARTS = {"steps": "o:", "train": "o--", "test": "o-", "validation": "o-"}  # and their lines
# Of columns whose names are short.
LABELS = {
    "acc": "accuracy",
    "label_acc": "accuracy of single labels",
    "mae": "mean absolute error",
    "balanced_acc": "balanced accuracy",
    "f1": "F1",
    "r2": "R2",
}


def plot_history(
    history: pd.DataFrame, path: str | os.PathLike[str] | BinaryIO | None = None, *, title: str = ""
) -> Any:
    """Draw the loss and each metric over the epochs, for training and test.

    Args:
        history: the result of `fit`; columns that it does not have are left out.
        path: where to save the picture (.png, .svg, .pdf), or an open binary file, which gets a
            PNG; None saves nothing.
        title: title of the picture.

    Returns:
        The matplotlib figure, which notebooks show.

    Raises:
        ImportError: without matplotlib.
    """
    stems = stems_of(history.columns)
    figure = matplotlib_figure(figsize=(4.5 * max(1, len(stems)), 3.6), layout="constrained")
    for i, stem in enumerate(stems):
        draw_stem(figure.add_subplot(1, len(stems), i + 1), history, stem)
    figure.suptitle(title)
    save_figure(figure, path, dpi=150)
    return figure


def stems_of(columns: Iterable[object]) -> list[str]:
    """The loss and each metric of a history's columns, without the names of the data sets."""
    named = [_column(str(column)).rpartition("_") for column in columns]
    return list(dict.fromkeys(stem for stem, _, part in named if part in PARTS))


def draw_stem(axes: Any, history: pd.DataFrame, stem: str) -> None:
    """Draw the loss or a metric: a line for each data set."""
    columns = {_column(str(column)): column for column in history.columns}
    for part, style in PARTS.items():
        if (column := columns.get(f"{stem}_{part}")) is not None:
            axes.plot(history.index, history[column], style, markersize=3, label=part)
    axes.set_ylabel(LABELS.get(stem, stem))
    finish_epochs(axes)


def finish_epochs(axes: Any) -> None:
    """Label the axis of epochs, and add a grid and a legend."""
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _column(name: str) -> str:
    return f"{OF_STEPS}_steps" if name == OF_STEPS else name
