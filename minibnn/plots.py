"""Pictures, with matplotlib, which is imported only here and only when one is drawn."""

from __future__ import annotations

import importlib
import io
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def plot_history(
    history: pd.DataFrame, path: str | os.PathLike[str] | None = None, *, title: str = ""
) -> Any:
    """Draw loss and accuracy over the epochs, training and test, side by side.

    Args:
        history: what `fit` returned.
        path: where to save the picture (.png, .svg, .pdf); None does not save.
        title: above the picture.

    Returns:
        The matplotlib figure, which a notebook shows by itself.

    Raises:
        ImportError: without matplotlib.
    """
    figure = _matplotlib_figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for axes, name, label in (
        (loss, "loss", "cross-entropy (nats)"),
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
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def plot_comparison(
    runs: pd.DataFrame,
    ranking: pd.DataFrame,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "",
) -> Any:
    """Draw every run of a comparison as a dot and every entry's mean as a line, best on top.

    The letters on the right are the ranking's: entries that share one are not ranked.

    Args:
        runs: what `compare` returned.
        ranking: what `rank` made of them.
        path: where to save the picture (.png, .svg, .pdf); None does not save.
        title: above the picture.

    Returns:
        The matplotlib figure, which a notebook shows by itself.

    Raises:
        ImportError: without matplotlib.
    """
    figure = _matplotlib_figure(figsize=(9, 1.4 + 0.34 * len(ranking)), layout="constrained")
    axes = figure.subplots()
    for place, (entry, row) in enumerate(ranking.iterrows()):
        scores = runs.loc[runs.entry == entry, "accuracy"]
        axes.plot(scores, [place] * len(scores), "o", color="tab:blue", alpha=0.45, markersize=5)
        axes.plot([row["mean"]] * 2, [place - 0.32, place + 0.32], color="black", linewidth=2)
        axes.annotate(
            row.tied,
            (1, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            family="monospace",
        )
    axes.set_yticks(range(len(ranking)), ranking.index)
    axes.invert_yaxis()
    axes.set_xlabel("accuracy on the images held out; a dot for each seed, a line for the mean")
    axes.grid(axis="x", alpha=0.3)
    figure.suptitle(title, fontsize="medium")
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _matplotlib_figure(**options: Any) -> Any:
    try:
        # Figure, not pyplot: no global state and no window, also on a machine without a display.
        figure = importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise ImportError(
            'plots need matplotlib: pip install "minibnn[plot]" '
            '(in a checkout: pip install -e ".[plot]")'
        ) from error
    made = figure(**options)

    def png() -> bytes:
        buffer = io.BytesIO()
        made.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()

    made._repr_png_ = png  # what notebooks look for
    return made
