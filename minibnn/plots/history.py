"""Plot a training history."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

from minibnn.plots.figure import matplotlib_figure, save_figure

if TYPE_CHECKING:
    import pandas as pd

OF_STEPS = "loss"  # the mean loss of an epoch's steps, if `fit` does not evaluate the training set

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
    history = history.rename(columns={OF_STEPS: f"{OF_STEPS}_steps"})
    parts = {"steps": "o:", "train": "o--", "test": "o-", "validation": "o-"}
    named = [str(column).rpartition("_") for column in history.columns]
    stems = list(dict.fromkeys(stem for stem, _, part in named if part in parts))
    figure = matplotlib_figure(figsize=(4.5 * max(1, len(stems)), 3.6), layout="constrained")
    for i, stem in enumerate(stems):
        axes = figure.add_subplot(1, len(stems), i + 1)
        for part, style in parts.items():
            if (column := f"{stem}_{part}") in history:
                axes.plot(history.index, history[column], style, markersize=3, label=part)
        axes.set_xlabel("epoch")
        axes.set_ylabel(LABELS.get(stem, stem))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle(title)
    save_figure(figure, path, dpi=150)
    return figure
