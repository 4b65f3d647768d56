"""The kernels of convolution and pooling, on the host, against their plain twins.

Most numbers here are small and whole, so that sums are exact in any order and all is equal. Where
they are not, a kernel adds in the order of its plain twin, and fuses no product with a sum.
"""

from __future__ import annotations

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA
from test_conv import GEOMETRIES, POOLS, pair

from minibnn import AveragePool2D, Conv2D, MaxPool2D
from minibnn.backend import CPU, Backend, Windows
from minibnn.backend.cuda import windows as cuda_windows
from minibnn.recipes import RECIPES

FLOATS = [np.float32, np.float64]


@pytest.fixture(autouse=True)
def launches() -> list[str]:
    """The names of the kernels that a test has launched."""
    HOST_CUDA.kernels.launches.clear()
    return HOST_CUDA.kernels.launches


def whole(rng, shape, dtype):
    return rng.integers(-4, 5, shape).astype(dtype)


def check_convolution(x, W, windows, rng):
    """All three against the plain bodies."""
    z = HOST_CUDA.convolve(x, W, windows)
    np.testing.assert_array_equal(z, Backend.convolve(CPU, x, W, windows))
    dz = whole(rng, z.shape, x.dtype)
    dW, plain_dW = np.full(W.shape, np.nan, x.dtype), np.full(W.shape, np.nan, x.dtype)
    assert HOST_CUDA.convolve_dw(x, dz, windows, dW) is dW
    np.testing.assert_array_equal(dW, Backend.convolve_dw(CPU, x, dz, windows, plain_dW))
    dx = HOST_CUDA.convolve_dx(dz, W, windows, x.shape)
    np.testing.assert_array_equal(dx, Backend.convolve_dx(CPU, dz, W, windows, x.shape))
    assert {z.dtype, dW.dtype, dx.dtype} == {x.dtype}


def there_and_back(blocks):
    return ["columns_of_windows"] * 2 * blocks + ["sums_over_windows"] * blocks


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
    monkeypatch.setattr(cuda_windows, "SCRATCH", values)
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
    apart = np.full((3, 3, 4, 10), np.nan, np.float32)
    for backend in (HOST_CUDA, CPU):
        dW = backend.convolve_dw(x, dz, Windows((3, 3)), apart[..., ::2])
        np.testing.assert_array_equal(dW, apart[..., ::2])
    dx = HOST_CUDA.convolve_dx(dz, W, Windows((3, 3)), x.shape)
    np.testing.assert_array_equal(dx, CPU.convolve_dx(dz, W, Windows((3, 3)), x.shape))
    # Where dW has gaps, the plain body writes it.
    assert launches == [*there_and_back(1), "sums_over_windows"]


def test_more_places_than_numbers_are_left_to_the_plain_bodies(rng, launches, monkeypatch):
    x, W = whole(rng, (2, 5, 4, 3), np.float32), whole(rng, (2, 2, 3, 4), np.float32)
    monkeypatch.setattr(cuda_windows, "PLACES", 2 * 5 * 4)
    check_convolution(x, W, Windows((2, 2)), rng)
    check_max_pool(x, Windows((2, 2)), rng)
    check_average_pool(x, Windows((2, 2)), rng)
    assert launches == []


def test_an_empty_batch_and_other_numbers_are_left_to_the_plain_bodies(rng, launches):
    W, windows = np.ones((2, 2, 3, 4), np.float32), Windows((2, 2))
    empty = np.zeros((0, 5, 5, 3), np.float32)
    assert HOST_CUDA.convolve(empty, W, windows).shape == (0, 4, 4, 4)
    dW = HOST_CUDA.convolve_dw(empty, np.zeros((0, 4, 4, 4), np.float32), windows, np.ones_like(W))
    assert not dW.any()
    assert HOST_CUDA.max_pool(empty, windows, with_places=True)[0].shape == (0, 4, 4, 3)
    check_convolution(whole(rng, (2, 5, 5, 3), np.float16), W.astype(np.float16), windows, rng)
    check_max_pool(whole(rng, (2, 5, 5, 3), np.float16), windows, rng)
    assert launches == []


def test_nan_reaches_the_windows_that_see_it_and_their_pixels(rng):
    x, W = whole(rng, (1, 6, 6, 2), np.float32), np.ones((2, 2, 2, 3), np.float32)
    x[0, 2, 3, 1] = np.nan
    windows = Windows((2, 2))
    z = HOST_CUDA.convolve(x, W, windows)
    np.testing.assert_array_equal(z, Backend.convolve(CPU, x, W, windows))
    assert np.isnan(z).sum() == 4 * 3
    dx = HOST_CUDA.convolve_dx(z, W, windows, x.shape)
    np.testing.assert_array_equal(dx, Backend.convolve_dx(CPU, z, W, windows, x.shape))


# --- Pooling ----------------------------------------------------------------------------------


def check_max_pool(x, windows, rng):
    y, place = HOST_CUDA.max_pool(x, windows, with_places=True)
    plain_y, plain_place = Backend.max_pool(CPU, x, windows, with_places=True)
    np.testing.assert_array_equal(y, plain_y)
    np.testing.assert_array_equal(place, plain_place)
    assert (y.dtype, place.dtype) == (plain_y.dtype, plain_place.dtype)
    alone, none = HOST_CUDA.max_pool(x, windows, with_places=False)
    np.testing.assert_array_equal(alone, plain_y)
    assert none is None
    dy = rng.standard_normal(y.shape).astype(x.dtype)  # of any size: the sums have one order
    dx = HOST_CUDA.max_pool_dx(dy, place, windows, x.shape)
    assert dx.dtype == x.dtype
    np.testing.assert_array_equal(dx, Backend.max_pool_dx(CPU, dy, place, windows, x.shape))


def check_average_pool(x, windows, rng):
    y = HOST_CUDA.average_pool(x, windows)
    np.testing.assert_array_equal(y, Backend.average_pool(CPU, x, windows))
    dy = rng.standard_normal(y.shape).astype(x.dtype)
    dx = HOST_CUDA.average_pool_dx(dy, windows, x.shape)
    np.testing.assert_array_equal(dx, Backend.average_pool_dx(CPU, dy, windows, x.shape))
    assert {y.dtype, dx.dtype} == {x.dtype}


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
    large = np.prod(pair(size)) > 256  # more places than the kernel writes
    places = ["max_pool"] if large else ["max_pool", "max_pool", "max_pool_dx"]
    assert launches == [*places, "average_pool", "average_pool_dx"]


def test_pooling_of_spread_windows_and_views(rng, launches):
    x = rng.standard_normal((2, 9, 20, 9)).astype(np.float32)[:, :, ::2, 1:]
    windows = Windows((3, 2), stride=(2, 3), dilation=(3, 2))
    check_max_pool(x, windows, rng)
    check_average_pool(x, windows, rng)
    assert len(launches) == 5
    y, place = HOST_CUDA.max_pool(x, windows, with_places=True)
    dy = np.repeat(y, 2, axis=-1)[..., ::2]
    got = HOST_CUDA.max_pool_dx(dy, np.asfortranarray(place), windows, x.shape)
    np.testing.assert_array_equal(got, Backend.max_pool_dx(CPU, y, place, windows, x.shape))
    got = HOST_CUDA.average_pool_dx(dy, windows, x.shape)
    np.testing.assert_array_equal(got, Backend.average_pool_dx(CPU, y, windows, x.shape))


@pytest.mark.parametrize("windows", [Windows((2, 2), (2, 2)), Windows((2, 2))], ids=str)
def test_pooling_of_what_is_not_finite(windows, rng):
    x = whole(rng, (3, 6, 6, 2), np.float32)
    x[0, 0, :4, 0] = np.nan, 1, 5, np.nan
    x[1, 2:4, 2:4] = -np.inf
    x[1, 4, 4, 1] = np.inf
    x[2, :2, :2] = np.array([-0.0, 0.0], np.float32)
    check_max_pool(x, windows, rng)
    check_average_pool(np.where(np.isinf(x), np.float32(0), x), windows, rng)
    y, place = HOST_CUDA.max_pool(x, windows, with_places=True)
    assert np.isnan(y).any()
    # What comes back may not be finite either: as in the plain body, 0 times it is nan.
    dx = HOST_CUDA.max_pool_dx(y, place, windows, x.shape)
    with np.errstate(invalid="ignore"):
        plain = Backend.max_pool_dx(CPU, y, place, windows, x.shape)
    np.testing.assert_array_equal(dx, plain)
    assert np.isnan(dx).any()


# --- A whole network --------------------------------------------------------------------------


def test_the_layers_of_a_recipe(rng, launches):
    """Each layer of larq-cnn at its own size: what it takes, how much it launches."""
    x = whole(rng, (3, 28, 28, 1), np.float32)
    for layer in RECIPES["larq-cnn"]().build():
        if isinstance(layer, Conv2D):
            check_convolution(x, whole(rng, layer.weight.shape, np.float32), layer.windows, rng)
            x = whole(rng, (3, *layer.windows.counts(x.shape), layer.out_channels), np.float32)
        elif isinstance(layer, MaxPool2D):
            check_max_pool(x, layer.windows, rng)
            x = HOST_CUDA.max_pool(x, layer.windows, with_places=False)[0]
    assert x.shape == (3, 3, 3, 64)
    pool = ["max_pool", "max_pool", "max_pool_dx", "max_pool"]
    assert launches == [
        *there_and_back(1), *pool, *there_and_back(1), *pool, *there_and_back(1),
    ]  # fmt: skip


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
