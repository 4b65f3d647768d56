"""Plot a training history."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

from minibnn.plots.figure import matplotlib_figure, save_figure

if TYPE_CHECKING:
    import pandas as pd


def plot_history(
    history: pd.DataFrame, path: str | os.PathLike[str] | BinaryIO | None = None, *, title: str = ""
) -> Any:
    """Draw loss and accuracy over the epochs, for training and test.

    Args:
        history: the result of `fit`.
        path: where to save the picture (.png, .svg, .pdf), or an open binary file, which gets a
            PNG; None saves nothing.
        title: title of the picture.

    Returns:
        The matplotlib figure, which notebooks show.

    Raises:
        ImportError: without matplotlib.
    """
    figure = matplotlib_figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for axes, name, label in (
        (loss, "loss", "loss"),
        (accuracy, "acc", "accuracy"),
    ):
        for part, style in (("train", "o--"), ("test", "o-")):
            axes.plot(history.index, history[f"{name}_{part}"], style, markersize=3, label=part)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle(title)
    save_figure(figure, path, dpi=150)
    return figure
