"""Plot a confusion matrix, and the weights of the first layer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from minibnn.checks import integer
from minibnn.checks import shape as check_shape
from minibnn.layers import Layer
from minibnn.layers.weighted import Weighted
from minibnn.plots.figure import matplotlib_figure, save_figure

if TYPE_CHECKING:
    import pandas as pd


def plot_confusion(
    matrix: pd.DataFrame, path: str | os.PathLike[str] | BinaryIO | None = None, *, title: str = ""
) -> Any:
    """Draw a confusion matrix: mistakes in colour, correct predictions as numbers only.

    Args:
        matrix: the result of `confusion_matrix`.
        path: where to save the picture (.png, .svg, .pdf), or an open binary file, which gets a
            PNG; None saves nothing.
        title: title of the picture.

    Returns:
        The matplotlib figure, which notebooks show.

    Raises:
        ImportError: without matplotlib.
    """
    counts = matrix.to_numpy()
    classes = len(counts)
    wrong = np.where(np.eye(classes, dtype=bool), 0, counts)
    figure = matplotlib_figure(
        figsize=(1.6 + 0.42 * classes, 1.3 + 0.42 * classes), layout="constrained"
    )
    axes = figure.subplots()
    most = max(int(wrong.max()), 1)
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=1.4 * most)  # 1.4: black text stays legible
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if i == j:
                # Grey: the diagonal has no mistakes, and its large counts would hide the others.
                axes.fill_between([j - 0.5, j + 0.5], i - 0.5, i + 0.5, color="0.9", linewidth=0)
            if count:
                axes.text(j, i, f"{count}", ha="center", va="center", fontsize=8)
    axes.set_xticks(range(classes), matrix.columns)
    axes.set_yticks(range(classes), matrix.index)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    right = int(counts.trace())
    axes.set_title(
        f"{right:,} of {counts.sum():,} right, {right / max(counts.sum(), 1):.2%}", fontsize=9
    )
    figure.suptitle(title)
    save_figure(figure, path, dpi=120)
    return figure


def plot_weight_bits(
    model: Layer,
    path: str | os.PathLike[str] | BinaryIO | None = None,
    *,
    image_shape: tuple[int, int] | None = None,
    columns: int = 16,
    title: str = "",
) -> Any:
    """Draw the weights of each unit of the first weighted layer as an image.

    Weights of +1 are white, weights of -1 black; real weights are grey.

    Args:
        model: an initialised model. Its first layer with weights is a `Dense` on flattened images,
            or a convolution of one channel.
        path: where to save the picture (.png, .svg, .pdf), or an open binary file, which gets a
            PNG; None saves nothing.
        image_shape: (height, width) of an image. None: (28, 28), or the convolution's window.
        columns: images in a row.
        title: title of the picture.

    Returns:
        The matplotlib figure, which notebooks show.

    Raises:
        ImportError: without matplotlib.
        ValueError: if the model has no weighted layer, or its weights are not such images.
    """
    size: tuple[int, ...] = (28, 28)
    if image_shape is not None:
        size = check_shape("plot_weight_bits", "image_shape", image_shape)
        if len(size) != 2:
            raise ValueError(f"plot_weight_bits: expected image_shape=(height, width), got {size}")
    columns = integer("plot_weight_bits", "columns", columns, least=1)
    layer = next(_weighted(model), None)
    if layer is None:
        raise ValueError(f"plot_weight_bits: expected a layer with weights, found none in {model}")
    if layer.weight.data is None:
        raise RuntimeError(
            f"plot_weight_bits: {layer} has no weights yet; call model.initialize(rng) first"
        )
    W = layer.backend.to_host(layer.quantized_weight(train=False))
    units = W.shape[-1]
    window = None if W.ndim == 2 else W.shape[:2]
    height, width = window or size
    if W.size != height * width * units:
        hint = "" if window else "; pass image_shape=(height, width), whose product is its inputs"
        raise ValueError(
            f"plot_weight_bits: expected {layer} to see images of one channel, of shape "
            f"{(height, width)}, got weights of shape {W.shape}{hint}"
        )
    if window and image_shape is not None and size != window:
        raise ValueError(
            f"plot_weight_bits: expected the shape of {layer}'s window, {window}, got "
            f"image_shape={image_shape}; leave image_shape out"
        )
    images = W.reshape(height * width, units).T.reshape(units, height, width)
    columns = min(columns, units)
    rows = -(-units // columns)
    # One picture of all images, so that each weight is a square; the background shows between them.
    gap = max(1, width // 14)
    mosaic = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap), np.nan)
    for i, image in enumerate(images):
        y, x = i // columns * (height + gap) + gap, i % columns * (width + gap) + gap
        mosaic[y : y + height, x : x + width] = image
    most = float(abs(images).max()) or 1.0

    # A whole number of pixels for each weight; otherwise some would be wider than others.
    pixels = max(2, -(-900 // mosaic.shape[1]))
    rows, columns = mosaic.shape
    head = 0.35 if title else 0.0  # in inches, as are the figures below
    figure = matplotlib_figure(figsize=(pixels * columns / 100, pixels * rows / 100 + head))
    axes = figure.add_axes((0, 0, 1, 1 - head / figure.get_figheight()))
    axes.set_facecolor("steelblue")
    axes.spines[:].set_visible(False)
    axes.imshow(mosaic, cmap="gray", vmin=-most, vmax=most, interpolation="nearest", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    figure.suptitle(title, y=1 - 0.1 / figure.get_figheight(), va="top", fontsize=11)
    save_figure(figure, path, dpi=100)
    return figure


def _weighted(layer: Layer) -> Iterator[Weighted]:
    if isinstance(layer, Weighted):
        yield layer
    for child in layer.children():
        yield from _weighted(child)
