"""The kernels of pooling, run on the host, equal their references to the bit.

A kernel adds in the same order as its reference, and uses no fused multiply-adds.
"""

from __future__ import annotations

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA
from pooling_checks import check_average_pool, check_equal, check_max_pool
from window_cases import POOLS, pair, whole

from minibnn import AveragePool2D, MaxPool2D
from minibnn.layers.pooling import average_pool_gradient, max_pool, max_pool_gradient
from minibnn.windows import Windows

FLOATS = [np.float32, np.float64]


MORE_POOLS = [
    ((2, 6, 6, 33), 2, None),
    ((3, 20, 9, 5), 3, 2),
    ((1, 9, 9, 70), (1, 3), (2, 1)),
    ((1, 16, 17, 2), 16, 1),  # as many positions as a byte counts
    ((1, 2, 300, 2), (1, 257), None),  # one more
    ((2, 5, 5, 2), 2, 7),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "size", "stride"), POOLS + MORE_POOLS)
def test_pooling(shape, size, stride, dtype, rng, launches):
    windows = MaxPool2D(size, stride).windows
    x = whole(rng, shape, dtype)  # with many equal maxima
    check_max_pool(x, windows, rng)
    check_average_pool(rng.standard_normal(shape).astype(dtype), windows, rng)
    large = np.prod(pair(size)) > 256  # more positions than the kernel numbers
    maxima = ["max_pool"] if large else ["max_pool", "max_pool", "max_pool_gradient"]
    assert launches == [*maxima, "average_pool", "average_pool_gradient"]


def test_pooling_of_dilated_windows_and_views(rng, launches):
    x = rng.standard_normal((2, 9, 20, 9)).astype(np.float32)[:, :, ::2, 1:]
    windows = Windows((3, 2), stride=(2, 3), dilation=(3, 2))
    check_max_pool(x, windows, rng)
    check_average_pool(x, windows, rng)
    assert len(launches) == 5
    y, position = HOST_CUDA.run(max_pool, x, windows, True)
    dy = np.repeat(y, 2, axis=-1)[..., ::2]
    check_equal(max_pool_gradient, dy, np.asfortranarray(position), windows, x.shape)
    check_equal(average_pool_gradient, dy, windows, x.shape)
    assert len(launches) == 8


@pytest.mark.parametrize("windows", [Windows((2, 2), (2, 2)), Windows((2, 2))], ids=str)
def test_pooling_of_what_is_not_finite(windows, rng):
    x = whole(rng, (3, 6, 6, 2), np.float32)
    x[0, 0, :4, 0] = np.nan, 1, 5, np.nan
    x[1, 2:4, 2:4] = -np.inf
    x[1, 4, 4, 1] = np.inf
    x[2, :2, :2] = np.array([-0.0, 0.0], np.float32)
    check_max_pool(x, windows, rng)
    check_average_pool(np.where(np.isinf(x), np.float32(0), x), windows, rng)
    y, position = HOST_CUDA.run(max_pool, x, windows, True)
    assert np.isnan(y).any()
    # The gradient may not be finite either: as in the reference, 0 times nan is nan.
    with np.errstate(invalid="ignore"):
        dx = check_equal(max_pool_gradient, y, position, windows, x.shape)
    assert np.isnan(dx).any()


def test_positions_and_gradients_that_do_not_fit_are_left_to_the_references(rng, launches):
    """Also wider integers as positions: forward and gradient can decline independently."""
    x, windows = whole(rng, (2, 6, 6, 3), np.float32), Windows((2, 2), (2, 2))
    y, position = max_pool(x, windows, True)
    check_equal(max_pool_gradient, y, position.astype(np.uint16), windows, x.shape)
    assert launches == []
    for reference, arguments in (
        (max_pool_gradient, (y[:, 1:], position, windows, x.shape)),
        (max_pool_gradient, (y, position[:, 1:], windows, x.shape)),
        (average_pool_gradient, (y[..., 1:], windows, x.shape)),
    ):
        with pytest.raises(ValueError, match="broadcast"):
            HOST_CUDA.run(reference, *arguments)
    assert launches == []


@pytest.mark.parametrize("layer", [MaxPool2D(3, 2), AveragePool2D(2)], ids=str)
def test_layers_call_the_kernels(layer, rng, launches):
    x = rng.standard_normal((2, 8, 9, 3)).astype(np.float32)
    layer.initialize(0)
    y = layer.forward(x, train=True)
    dx = layer.backward(y)
    layer.to(HOST_CUDA)
    np.testing.assert_array_equal(layer.forward(x, train=True), y)
    np.testing.assert_array_equal(layer.backward(y), dx)
    assert len(launches) == 2
