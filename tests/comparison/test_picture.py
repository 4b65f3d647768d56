"""The picture of a comparison."""

from __future__ import annotations

import io

import pytest
from comparison_runs import table

from minibnn.comparison import rank
from minibnn.comparison.picture import plot_comparison


def test_the_picture_shows_every_run_every_mean_and_the_letters():
    pytest.importorskip("matplotlib")
    runs = table(worse=[0.5, 0.51, 0.49], better=[0.93, 0.95, 0.91])
    saved = io.BytesIO()
    figure = plot_comparison(runs, rank(runs), saved, title="a title")
    (axes,) = figure.axes
    assert saved.getvalue().startswith(b"\x89PNG")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["better", "worse"]
    assert axes.yaxis.get_inverted(), "the best on top"
    drawn = [list(line.get_xdata()) for line in axes.lines]
    means = [pytest.approx([mean] * 2) for mean in (0.93, 0.5)]
    assert drawn == [[0.93, 0.95, 0.91], means[0], [0.5, 0.51, 0.49], means[1]]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert figure.get_suptitle() == "a title"
