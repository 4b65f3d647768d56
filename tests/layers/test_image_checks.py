"""Errors for images that do not fit a convolution or a pooling."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    AveragePool2D,
    Conv2D,
    MaxPool2D,
)
from minibnn.layers.image_checks import check_images, pair


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((2, 28, 28), r"images need a channel axis: put Reshape\(\(28, 28, 1\)\) first"),
        ((2, 784), r"put Reshape\(\(height, width, channels\)\) first"),
        ((2, 3, 8, 8), "channels are the last axis"),
        ((2, 8, 8, 4), r"expected x of shape \(batch, height, width, 3\), got \(2, 8, 8, 4\)"),
        ((2, 2, 8, 3), "at least 3 x 3 pixels, the reach of a window, got 2 x 8"),
    ],
)
def test_images_that_do_not_fit(shape, match):
    with pytest.raises(ValueError, match=match):
        Conv2D(3, 4, 3).initialize(0).forward(np.zeros(shape, np.float32))


@pytest.mark.parametrize("layer", [MaxPool2D(2), AveragePool2D(2)])
def test_pooling_says_what_it_needs(layer):
    with pytest.raises(ValueError, match="put Reshape"):
        layer.forward(np.zeros((2, 28, 28), np.float32))
    with pytest.raises(ValueError, match="at least 2 x 2 pixels"):
        layer.forward(np.zeros((2, 1, 4, 1), np.float32))


def test_a_pair_is_given_by_one_number_or_two():
    assert pair("Conv2D", "stride", 2, least=1) == (2, 2)
    assert pair("Conv2D", "stride", [1, 3], least=1) == (1, 3)
    for value in ("same", (1, 2, 3), 1.5):
        with pytest.raises(TypeError, match="expected stride to be an integer or a pair of them"):
            pair("Conv2D", "stride", value, least=1)
    with pytest.raises(ValueError, match=r"Conv2D: expected stride of at least 1, got \(1, 0\)"):
        pair("Conv2D", "stride", (1, 0), least=1)


def test_a_single_image_becomes_a_batch():
    image = np.zeros((8, 8, 3), np.float32)
    with pytest.raises(ValueError, match=r"for a single image, give a batch of one: x\[None\]"):
        check_images(Conv2D(3, 4, 3), image, 3)
    check_images(Conv2D(3, 4, 3), image[None], 3)
