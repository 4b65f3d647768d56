"""Plot a training while it runs."""

from __future__ import annotations

import base64
import importlib
import io
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from minibnn.atomic_file import require_writable
from minibnn.backend import Array
from minibnn.layers import Layer
from minibnn.notebook import Place, in_notebook
from minibnn.parameter import Parameter
from minibnn.plots.figure import matplotlib_figure, save_figure
from minibnn.plots.history import draw_stem, finish_epochs, stems_of
from minibnn.state import State, Stateful

if TYPE_CHECKING:
    import pandas as pd

FLIPS = "flips_"
SIZE = (9, 6)  # of the figure, in inches
DPI = 90
SHARE = 3  # drawing takes at most about one part in so many of the time


class LivePlot(Stateful):
    """Draws a training as it goes on: a callback, which `live_plot` makes.

    Args:
        path: as in `live_plot`.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = path
        self._weights: dict[str, Parameter] = {}
        self._model: Layer | None = None
        self._distances: list[list[float]] = []
        self._figure: Any = None
        self._place: Place | None = None
        self._window: Any = None  # the module pyplot, if it opens windows here
        self._drawn_at = self._took = 0.0
        self._drawn = 0  # epochs

    def __repr__(self) -> str:
        return f"LivePlot({'' if self.path is None else repr(os.fspath(self.path))})"

    def arguments(self) -> dict[str, Any]:
        """No path: where a picture goes does not change the training."""
        return {"path": None}

    def on_begin(self, model: Layer, history: pd.DataFrame) -> None:
        """Find the weights and the place to draw at, before any training."""
        self._model = model
        self._weights = {path: p for path, p, _ in model.named_quantized()}
        self._distances, self._drawn, self._took = [self._measured()], 0, 0.0
        self._figure = matplotlib_figure(figsize=SIZE, layout="constrained")
        if self.path is not None:
            require_writable(self.path)
        if in_notebook():
            self._place = Place({"text/plain": "the first epoch is not complete yet"})
        else:
            self._open_window()

    def on_epoch(self, history: pd.DataFrame) -> None:
        """Measure the weights, and draw unless it would take too much of the time."""
        self._distances.append(self._measured())
        if time.monotonic() - self._drawn_at >= SHARE * self._took:
            self._draw(history)

    def on_end(self, history: pd.DataFrame) -> None:
        """Draw what was not drawn yet."""
        if self._drawn < len(history):
            self._draw(history)

    def state(self) -> State:
        """The distances of the weights, which no history has."""
        return {"distances": np.array(self._distances)}

    def restore(self, state: State) -> None:
        """Put a state back; `on_begin` comes first."""
        self._distances = state["distances"].tolist()

    def _measured(self) -> list[float]:
        """The mean of |W| of each weight, read from the device at once."""
        if self._model is None or not self._weights:
            return []
        backend = self._model.backend
        means: list[Array] = [abs(p.data).mean(dtype=np.float64) for p in self._weights.values()]
        found: list[float] = backend.to_host(backend.xp.stack(means)).tolist()
        return found

    def _draw(self, history: pd.DataFrame) -> None:
        began = time.monotonic()
        self._figure.clear()
        draw_training(self._figure, history, list(self._weights), self._distances)
        save_figure(self._figure, self.path, dpi=DPI)
        if self._place is not None:
            picture = io.BytesIO()
            self._figure.savefig(picture, format="png", dpi=DPI)
            text = base64.b64encode(picture.getvalue()).decode("ascii")
            self._place.show({"image/png": text, "text/plain": _epochs(len(history))})
        if self._window is not None:
            self._figure.canvas.draw()
            self._window.pause(0.05)  # seconds in which the window can be redrawn and moved
        self._drawn, self._drawn_at = len(history), time.monotonic()
        self._took = self._drawn_at - began

    def _open_window(self) -> None:
        """Draw into a window, where matplotlib has one to offer."""
        pyplot = importlib.import_module("matplotlib.pyplot")
        figure = pyplot.figure(figsize=SIZE, layout="constrained")
        if figure.canvas.required_interactive_framework is None:  # there is no screen
            pyplot.close(figure)
            return
        figure.show()
        self._figure, self._window = figure, pyplot


def _epochs(count: int) -> str:
    return f"{count:,} epoch" + "s" * (count != 1)


def live_plot(path: str | os.PathLike[str] | None = None) -> LivePlot:
    """Draw a training while it runs: ``fit(..., callbacks=[live_plot()])``.

    The plots are the loss, the accuracy (or the first other metric), the share of each layer's
    weights that flipped in an epoch, and the mean distance of each layer's latent weights from
    zero, where they would flip.

    In a notebook the picture stands below the cell and is replaced after each epoch. A script
    draws into a window if there is a screen; without one, only into the file. If epochs are so
    short that drawing would take more than a part of the time, some are left out; the last picture
    always has all of them.

    Args:
        path: a picture (.png, .svg, .pdf) that is rewritten each time; None writes none.

    Returns:
        The callback. With a checkpoint, a resumed training goes on with its plots.

    Raises:
        ImportError: from `fit`, before the first step, without matplotlib.
        OSError: from `fit`, before the first step, if the file cannot be written.

    >>> live_plot("training.png")
    LivePlot('training.png')
    """
    return LivePlot(path)


def draw_training(
    figure: Any, history: pd.DataFrame, weights: list[str], distances: list[list[float]]
) -> None:
    """Draw the four plots of `live_plot` into an empty figure.

    Args:
        figure: of matplotlib.
        history: as `fit` returns it.
        weights: the paths of the quantized weights.
        distances: the mean of |W| of each weight before the training and after each epoch.
    """
    first, second, third, fourth = figure.subplots(2, 2).flat
    stems = stems_of(history.columns)
    for axes, stem in zip((first, second), [*stems[:2], None, None], strict=False):
        if stem is None:
            axes.set_axis_off()
        else:
            draw_stem(axes, history, stem)
    for path in weights:
        if (column := f"{FLIPS}{path}") in history:
            third.plot(history.index, history[column], "o-", markersize=3, label=path)
    third.set_ylabel("share of weights flipped")
    table = np.array(distances).reshape(len(distances), len(weights))
    for path, line in zip(weights, table.T, strict=True):
        fourth.plot(range(len(table)), line, "o-", markersize=3, label=path)
    fourth.set_ylabel("mean |W|, distance from zero")
    for axes in (third, fourth):
        axes.set_ylim(bottom=0)
        if weights:
            finish_epochs(axes)
        else:
            axes.set_axis_off()
