"""The picture of a history."""

from __future__ import annotations

import pytest
from histories import HISTORY

from minibnn import plot_history


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


def test_other_metrics_and_none(tmp_path):
    pytest.importorskip("matplotlib")
    flips = {"flips_0.weight": [0.1, 0.2]}
    table = HISTORY.rename(columns=lambda name: name.replace("acc", "mae")).assign(**flips)
    figure = plot_history(table)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "mean absolute error"]
    figure = plot_history(HISTORY[["loss_train", "loss_test"]])
    (loss,) = figure.axes
    assert loss.get_ylabel() == "loss"
    figure = plot_history(HISTORY[["loss_train", "acc_test"]])
    assert [[line.get_label() for line in axes.lines] for axes in figure.axes] == [
        ["train"], ["test"],
    ]  # fmt: skip


def test_validation_and_the_loss_of_the_steps():
    pytest.importorskip("matplotlib")
    table = HISTORY.rename(columns=lambda name: name.replace("test", "validation"))
    table = table.drop(columns=["loss_train", "acc_train"]).assign(loss=[3.0, 2.0])
    figure = plot_history(table)
    lines = [[(line.get_label(), line.get_ydata().tolist()) for line in axes.lines]
             for axes in figure.axes]  # fmt: skip
    assert sorted(lines) == [
        [("steps", [3.0, 2.0]), ("validation", [2.1, 1.2])],
        [("validation", [0.4, 0.7])],
    ]
    assert "loss" in table, "the history itself is not renamed"
