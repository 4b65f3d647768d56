"""Figures: where they are saved, and what is said without matplotlib."""

from __future__ import annotations

import io
import sys

import pytest
from histories import HISTORY

from minibnn import ReLU, SignSTE, plot_function, plot_history
from minibnn.plots.figure import matplotlib_figure


def test_without_matplotlib_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (matplotlib_figure, lambda: plot_history(HISTORY), lambda: plot_function(ReLU())):
        with pytest.raises(ImportError, match=r"pip install matplotlib$"):
            draw()


def test_an_open_file_gets_a_png():
    pytest.importorskip("matplotlib")
    for draw in (lambda f: plot_function(SignSTE(), f), lambda f: plot_history(HISTORY, f)):
        file = io.BytesIO()
        draw(file)
        assert file.getvalue().startswith(b"\x89PNG")
