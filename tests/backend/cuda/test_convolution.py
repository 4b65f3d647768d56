"""The kernels of convolution, run on the host, against their references.

All numbers are small integers, so sums are exact in any order and results are equal.
"""

from __future__ import annotations

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA
from pooling_checks import check_average_pool, check_max_pool
from window_cases import GEOMETRIES, whole

from minibnn import Conv2D, MaxPool2D
from minibnn.backend.cuda import convolution as cuda_convolution
from minibnn.backend.cuda import windows as cuda_windows
from minibnn.layers.conv import convolve, convolve_dW, convolve_dx
from minibnn.layers.pooling import max_pool
from minibnn.recipes import RECIPES
from minibnn.windows import Windows

FLOATS = [np.float32, np.float64]


def check_convolution(x, W, windows, rng):
    """Compare the forward pass and both gradients with the references."""
    z = check_equal(convolve, x, W, windows)
    dz = whole(rng, z.shape, x.dtype)
    check_equal(convolve_dW, x, dz, windows)
    check_equal(convolve_dx, dz, W, windows, x.shape)


def check_equal(reference, *arguments):
    result = HOST_CUDA.run(reference, *arguments)
    np.testing.assert_array_equal(result, reference(*arguments), strict=True)
    return result


def there_and_back(blocks):
    return ["im2col"] * 2 * blocks + ["col2im"] * blocks


MORE = [
    ((2, 6, 5, 33), 3, (2, 3), {}),  # more channels than lanes
    ((3, 9, 9, 2), 40, 3, {}),  # several blocks of threads
    ((1, 4, 9, 70), 2, (1, 3), {"dilation": (1, 2)}),
    ((1, 5, 5, 1), 1, 5, {"stride": 9}),
    ((2, 9, 9, 3), 2, (3, 2), {"dilation": (2, 3), "stride": (3, 2)}),  # steps that do not divide
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "out", "kernel", "options"), GEOMETRIES + MORE)
def test_convolution(shape, out, kernel, options, dtype, rng, launches):
    layer = Conv2D(shape[-1], out, kernel, **options)
    x = layer.pad(whole(rng, shape, dtype))
    check_convolution(x, whole(rng, layer.weight.shape, dtype), layer.windows, rng)
    assert launches == ([] if layer.windows.groups > 1 else there_and_back(1))


@pytest.mark.parametrize(("values", "blocks"), [(1, 7), (3 * 480, 3), (7 * 480, 1)])
def test_large_batches_are_done_in_blocks(values, blocks, rng, launches, monkeypatch):
    monkeypatch.setattr(cuda_convolution, "SCRATCH", values)
    windows = Windows((2, 3), stride=(1, 2))  # 5 x 4 of them, each of 24 values
    x, W = whole(rng, (7, 6, 9, 4), np.float32), whole(rng, (2, 3, 4, 5), np.float32)
    check_convolution(x, W, windows, rng)
    assert sorted(launches) == sorted(there_and_back(blocks))


def test_views_are_taken_as_they_read(rng, launches):
    x = whole(rng, (2, 6, 5, 8), np.float32)[:, ::-1, :, 1::2]
    W = whole(rng, (5, 4, 3, 3), np.float32).T  # its layout the other way around
    assert [a.flags.c_contiguous for a in (x, W)] == [False, False]
    check_convolution(x, W, Windows((3, 3)), rng)
    dz = whole(rng, (5, 2, 4, 3), np.float32).transpose(1, 2, 3, 0)
    check_equal(convolve_dW, x, dz, Windows((3, 3)))
    check_equal(convolve_dx, dz, W, Windows((3, 3)), x.shape)
    assert launches == [*there_and_back(1), "im2col", "col2im"]


def test_more_pixels_than_numbers_are_left_to_the_references(rng, launches, monkeypatch):
    x, W = whole(rng, (2, 5, 4, 3), np.float32), whole(rng, (2, 2, 3, 4), np.float32)
    monkeypatch.setattr(cuda_windows, "PIXELS", 2 * 5 * 4)
    check_convolution(x, W, Windows((2, 2)), rng)
    check_max_pool(x, Windows((2, 2)), rng)
    check_average_pool(x, Windows((2, 2)), rng)
    assert launches == []


def test_what_the_kernels_do_not_take_is_left_to_the_references(rng, launches):
    """Empty batches, other numbers, and shapes that do not fit."""
    windows = Windows((2, 2))
    empty, W = np.zeros((0, 5, 5, 3), np.float32), whole(rng, (2, 2, 3, 4), np.float32)
    check_convolution(empty, W, windows, rng)
    check_max_pool(empty, windows, rng)
    check_average_pool(empty, windows, rng)
    x = whole(rng, (2, 5, 5, 3), np.float16)
    check_convolution(x, W.astype(np.float16), windows, rng)
    check_max_pool(x, windows, rng)
    x = x.astype(np.float32)
    dz = whole(rng, (3, 4, 4, 4), np.float32)  # of another batch
    with pytest.raises(ValueError, match="mismatch"):
        HOST_CUDA.run(convolve, x, W[:, :, :2], windows)
    with pytest.raises(ValueError, match="mismatch"):
        HOST_CUDA.run(convolve_dW, x, dz, windows)
    with pytest.raises(ValueError, match="reshape"):
        HOST_CUDA.run(convolve_dx, dz, W, windows, x.shape)
    assert launches == []


def test_nan_reaches_the_windows_that_see_it_and_their_pixels(rng):
    x, W = whole(rng, (1, 6, 6, 2), np.float32), np.ones((2, 2, 2, 3), np.float32)
    x[0, 2, 3, 1] = np.nan
    windows = Windows((2, 2))
    z = check_equal(convolve, x, W, windows)
    assert np.isnan(z).sum() == 4 * 3
    check_equal(convolve_dx, z, W, windows, x.shape)
    check_equal(convolve_dW, x, z, windows)


# --- A whole network --------------------------------------------------------------------------


def test_the_layers_of_a_recipe(rng, launches):
    """Each layer of larq-cnn at its own size: its results, and its launches."""
    x = whole(rng, (3, 28, 28, 1), np.float32)
    for layer in RECIPES["larq-cnn"]().build():
        if isinstance(layer, Conv2D):
            check_convolution(x, whole(rng, layer.weight.shape, np.float32), layer.windows, rng)
            x = whole(rng, (3, *layer.windows.counts(x.shape), layer.out_channels), np.float32)
        elif isinstance(layer, MaxPool2D):
            check_max_pool(x, layer.windows, rng)
            x = HOST_CUDA.run(max_pool, x, layer.windows, False)[0]
    assert x.shape == (3, 3, 3, 64)
    pool = ["max_pool", "max_pool", "max_pool_gradient", "max_pool"]
    assert launches == [
        *there_and_back(1), *pool, *there_and_back(1), *pool, *there_and_back(1),
    ]  # fmt: skip
