"""Pictures of a confusion matrix and of weight bits."""

from __future__ import annotations

import io
import sys

import numpy as np
import pandas as pd
import pytest

from minibnn import (
    Activation,
    Dense,
    Flatten,
    Sequential,
    SignSTE,
    plot_confusion,
    plot_weight_bits,
)

EXPECTED = [[2, 0, 1], [1, 2, 0], [0, 0, 1]]


def test_picture_of_a_matrix(tmp_path):
    pytest.importorskip("matplotlib")
    matrix = pd.DataFrame(EXPECTED)
    figure = plot_confusion(matrix, tmp_path / "c.png", title="a title")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = figure.axes
    assert {(t.get_position(), t.get_text()) for t in axes.texts} == {
        ((0, 0), "2"),
        ((2, 0), "1"),
        ((0, 1), "1"),
        ((1, 1), "2"),
        ((2, 2), "1"),
    }
    # Only mistakes have a colour.
    assert axes.images[0].get_array().tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert axes.get_title() == "5 of 7 right, 71.43%"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert figure.get_suptitle() == "a title"
    plot_confusion(pd.DataFrame([[3, 0], [0, 4]]))  # no mistakes


def weights(*columns, shape=(2, 3)):
    """A model whose unit j has the signs of column j."""
    model = Sequential(
        Flatten(),
        Dense(6, len(columns), weight_quantizer=SignSTE()),
        Activation(SignSTE()),
        Dense(len(columns), 2),
    ).initialize(0)
    model[1].weight.data[...] = 0.25 * np.array(columns, np.float32).T
    return model


ONE, TWO = [1, -1, 1, -1, -1, 1], [-1, -1, -1, 1, 1, 1]


def test_picture_of_weight_bits(tmp_path, backend):
    pytest.importorskip("matplotlib")
    model = weights(ONE, TWO, ONE).to(backend)
    path = tmp_path / "w.png"
    figure = plot_weight_bits(model, path, image_shape=(2, 3), columns=2, title="a title")
    (axes,) = figure.axes
    mosaic = axes.images[0].get_array().filled(np.nan)
    nan = np.nan
    np.testing.assert_array_equal(
        mosaic,
        [
            [nan] * 9,
            [nan, 1, -1, 1, nan, -1, -1, -1, nan],
            [nan, -1, -1, 1, nan, 1, 1, 1, nan],
            [nan] * 9,
            [nan, 1, -1, 1, nan, *[nan] * 4],
            [nan, -1, -1, 1, nan, *[nan] * 4],
            [nan] * 9,
        ],
    )
    assert figure.get_suptitle() == "a title"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_each_weight_is_a_square_of_whole_pixels():
    matplotlib_image = pytest.importorskip("matplotlib.image")
    model = Sequential(Flatten(), Dense(784, 40, weight_quantizer=SignSTE())).initialize(0)
    saved = io.BytesIO()
    figure = plot_weight_bits(model, saved)
    mosaic = figure.axes[0].images[0].get_array().filled(np.nan)
    saved.seek(0)
    pixels = matplotlib_image.imread(saved)[..., 0]
    assert pixels.shape == (2 * mosaic.shape[0], 2 * mosaic.shape[1])
    unit = np.kron(mosaic, np.ones((2, 2)))
    assert set(pixels[unit == 1]) == {1.0}
    assert set(pixels[unit == -1]) == {0.0}


def test_weight_bits_need_a_weighted_layer_and_its_images():
    with pytest.raises(ValueError, match="expected a layer with weights, found none"):
        plot_weight_bits(Sequential(Flatten()))
    with pytest.raises(ValueError, match=r"of shape \(28, 28\), got weights of shape \(6, 1\)"):
        plot_weight_bits(weights(ONE))
    with pytest.raises(RuntimeError, match=r"call model.initialize\(rng\) first"):
        plot_weight_bits(Dense(784, 3))


def test_without_matplotlib_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (
        lambda: plot_confusion(pd.DataFrame(EXPECTED)),
        lambda: plot_weight_bits(weights(ONE), image_shape=(2, 3)),
    ):
        with pytest.raises(ImportError, match=r"pip install matplotlib$"):
            draw()
