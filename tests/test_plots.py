"""The history's picture."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

from minibnn import plot_history

HISTORY = pd.DataFrame(
    {
        "loss_train": [2.0, 1.0],
        "loss_test": [2.1, 1.2],
        "acc_train": [0.5, 0.8],
        "acc_test": [0.4, 0.7],
    },
    index=pd.RangeIndex(1, 3, name="epoch"),
)


def test_picture_shows_what_the_table_says(tmp_path):
    pytest.importorskip("matplotlib")
    figure = plot_history(HISTORY, tmp_path / "h.png", title="a title")
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    loss, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[2.0, 1.0], [2.1, 1.2]]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[0.5, 0.8], [0.4, 0.7]]
    assert [line.get_xdata().tolist() for line in loss.lines] == [[1, 2]] * 2
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]  # of any loss
    assert figure.get_suptitle() == "a title"
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "minibnn\[plot\]"'):
        plot_history(HISTORY)
