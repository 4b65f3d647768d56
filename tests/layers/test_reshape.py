"""Flatten, Reshape and Rescale."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Rescale,
    Reshape,
)


@pytest.mark.parametrize(
    ("scale", "offset", "low", "high"), [(1 / 255, 0, 0, 1), (2 / 255, -1, -1, 1)]
)
def test_rescale_reaches_the_ends_exactly(scale, offset, low, high):
    y = Rescale(scale, offset).forward(np.arange(256, dtype=np.uint8)[None])
    assert y.dtype == np.float32
    assert y[0, 0] == low
    assert y[0, -1] == high
    assert np.all(np.diff(y) > 0)


def test_rescale_keeps_float32_with_a_numpy_scale():
    assert Rescale(np.float64(2)).forward(np.ones((1, 2), np.float32)).dtype == np.float32


def test_reshape_takes_bytes_and_says_what_does_not_fit():
    y = Reshape((2, 3, 1)).forward(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    assert (y.dtype, y.shape, y[1, 1, 2, 0]) == (np.uint8, (2, 2, 3, 1), 11)
    with pytest.raises(ValueError, match="expected samples of 6 values"):
        Reshape((2, 3)).forward(np.zeros((2, 7)))
