"""The picture of a function, and the sheet of all quantizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minibnn
from minibnn import (
    AdaSTE,
    DoReFaActivations,
    DoReFaWeights,
    Function,
    MagnitudeAwareSign,
    ReLU,
    SignSTE,
    StraightThrough,
    SwishSign,
    TernaryWeights,
    plot_function,
)

ROOT = Path(__file__).parents[2]


def lines(axes):
    """A picture's lines by their labels: x and y, the gaps of the second left in."""
    return {
        line.get_label(): (np.ravel(line.get_xdata()), np.ravel(line.get_ydata()))
        for line in axes.lines
    }


def gaps(xy):
    x, y = xy
    return x[np.isnan(y)]


def test_picture_of_a_function_shows_both_sides(tmp_path):
    pytest.importorskip("matplotlib")
    f = SwishSign()
    figure = plot_function(f, tmp_path / "f.png", limits=(-2, 2))
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.get_suptitle() == "SwishSign(beta=5.0)"
    value, gradient = figure.axes
    assert value.get_xlim() == gradient.get_xlim() == (-2, 2)
    for (x, y), expected in (
        (lines(value)["forward"], f.forward),
        (lines(value)["surrogate"], f.surrogate),
        (lines(gradient)["dy = 1"], lambda x: f.backward(np.ones_like(x), x)),
    ):
        drawn = ~np.isnan(y)
        assert drawn.sum() >= 2400
        np.testing.assert_allclose(y[drawn], expected(x[drawn]), rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "forward", "surrogate", "gradient"),
    [
        (SignSTE(clip=1.0), [0], [], [-1, 1]),
        (SwishSign(), [0], [], []),
        (DoReFaActivations(2), [1 / 6, 1 / 2, 5 / 6], [], [0, 1]),
        (MagnitudeAwareSign(), [0], [], [-1, 1]),
        (DoReFaWeights(1), [0], [], []),
        (AdaSTE(), [0], [], [-1]),
    ],
    ids=repr,
)
def test_gaps_are_where_the_jumps_are(f, forward, surrogate, gradient):
    pytest.importorskip("matplotlib")
    value, slope = plot_function(f).axes
    for xy, jumps in (
        (lines(value)["forward"], forward),
        (lines(value)["surrogate"], surrogate),
        (lines(slope)["dy = 1"], gradient),
    ):
        np.testing.assert_allclose(gaps(xy), jumps, atol=6 / 2400 + 1e-9)


def test_lines_that_say_nothing_are_left_out():
    pytest.importorskip("matplotlib")
    value, gradient = plot_function(ReLU()).axes
    assert set(lines(value)) == {"forward"}, "no surrogate beside a function that is its own"
    assert set(lines(gradient)) == {"dy = 1"}
    _, gradient = plot_function(AdaSTE()).axes
    assert set(lines(gradient)) == {"dy = 1", "-dx for dy = -1"}


def test_functions_of_a_whole_array_take_the_grid():
    pytest.importorskip("matplotlib")
    _, y = lines(plot_function(MagnitudeAwareSign(), limits=(-2, 2)).axes[0])["forward"]
    np.testing.assert_allclose(abs(y[~np.isnan(y)]), 1, rtol=1e-3)  # the mean of |x| on [-2, 2]
    x, y = lines(plot_function(TernaryWeights(clip=None), limits=(-2, 2)).axes[0])["forward"]
    assert x[y == 1].min() == pytest.approx(0.7, abs=0.01)


def test_what_cannot_be_drawn():
    with pytest.raises(TypeError, match="expected an object of class Function"):
        plot_function(SignSTE)
    with pytest.raises(ValueError, match="expected limits that increase"):
        plot_function(SignSTE(), limits=(1, 1))


def test_the_sheet_and_its_page_show_every_quantizer(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(ROOT / "tools")
    import draw_functions

    quantizers = {
        v
        for name in minibnn.__all__
        if isinstance(v := getattr(minibnn, name), type)
        and issubclass(v, Function)
        and v not in (Function, StraightThrough)
        and v().bits < 32
    }
    assert {type(f) for f in draw_functions.QUANTIZERS} == quantizers
    drawn = draw_functions.draw(tmp_path / "new" / "sheet.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    committed = draw_functions.PICTURE.read_bytes()
    assert committed.startswith(b"\x89PNG")
    assert len(committed) < 150_000
    page = (ROOT / "docs" / "quantizers.md").read_text(encoding="utf-8")
    assert "(pictures/quantizers.png)" in page
    assert all(f"| `{v.__name__}" in page for v in quantizers)
