"""The picture of a comparison."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Any, BinaryIO

from minibnn.plots.figure import matplotlib_figure, save_figure

if TYPE_CHECKING:
    import pandas as pd


def plot_comparison(
    runs: pd.DataFrame,
    ranking: pd.DataFrame,
    path: str | os.PathLike[str] | BinaryIO | None = None,
    *,
    title: str = "",
) -> Any:
    """Draw each run of a comparison as a dot, and each entry's mean as a line; best on top.

    The letters on the right are the ranking's: entries that share one are not ranked.

    Args:
        runs: the result of `compare`.
        ranking: the result of `rank` for these runs.
        path: where to save the picture (.png, .svg, .pdf), or an open binary file, which gets a
            PNG; None saves nothing.
        title: title of the picture.

    Returns:
        The matplotlib figure, which notebooks show.

    Raises:
        ImportError: without matplotlib.
    """
    names = [textwrap.fill(name, 44) for name in ranking.index]
    lines = sum(name.count("\n") + 1 for name in names)
    height = 1.4 + 0.34 * max(len(names), 0.5 * lines)
    figure = matplotlib_figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots()
    for position, (entry, row) in enumerate(ranking.iterrows()):
        scores = runs.loc[runs.entry == entry, "accuracy"]
        axes.plot(scores, [position] * len(scores), "o", color="tab:blue", alpha=0.45, markersize=5)
        axes.plot([row["mean"]] * 2, [position - 0.32, position + 0.32], color="black", linewidth=2)
        axes.annotate(
            row.tied,
            (1, position),
            xycoords=axes.get_yaxis_transform(),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            family="monospace",
        )
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("accuracy on the images held out; a dot for each seed, a line for the mean")
    axes.grid(axis="x", alpha=0.3)
    figure.suptitle(title, fontsize="medium")
    save_figure(figure, path, dpi=150)
    return figure
