"""Pooling against plain loops, and its edge cases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from window_cases import POOLS, pair

from minibnn import (
    AveragePool2D,
    Conv2D,
    GlobalAveragePool2D,
    MaxPool2D,
    SignSTE,
)


def windows_of(shape, size, stride):
    (kh, kw), (sh, sw) = pair(size), pair(size if stride is None else stride)
    for p in range((shape[1] - kh) // sh + 1):
        for q in range((shape[2] - kw) // sw + 1):
            yield p, q, slice(p * sh, p * sh + kh), slice(q * sw, q * sw + kw)


@pytest.mark.parametrize("kind", ["real", "binary"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "size", "stride"), POOLS)
def test_max_pool_is_plain_loops(shape, size, stride, dtype, kind, backend, rng):
    x = rng.standard_normal(shape).astype(dtype)
    x = x if kind == "real" else np.where(x > 0.5, 1, -1).astype(dtype)
    layer = MaxPool2D(size, stride).initialize(0, dtype).to(backend)
    y = backend.to_host(layer.forward(backend.asarray(x), train=True))
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx = backend.to_host(layer.backward(backend.asarray(dy)))
    expected_y, expected_dx = np.full(y.shape, np.nan), np.zeros(shape)
    for p, q, rows, columns in windows_of(shape, size, stride):
        for n, c in itertools.product(range(shape[0]), range(shape[3])):
            window = x[n, rows, columns, c]
            first = np.unravel_index(window.argmax(), window.shape)
            expected_y[n, p, q, c] = window[first]
            expected_dx[n, rows, columns, c][first] += dy[n, p, q, c]
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(backend.to_host(layer.forward(backend.asarray(x))), y)


@pytest.mark.parametrize(("shape", "size", "stride"), POOLS)
def test_average_pool_is_plain_loops(shape, size, stride, backend, rng):
    x = rng.standard_normal(shape)
    layer = AveragePool2D(size, stride).initialize(0, np.float64).to(backend)
    y = backend.to_host(layer.forward(backend.asarray(x), train=True))
    dy = rng.standard_normal(y.shape)
    dx = backend.to_host(layer.backward(backend.asarray(dy)))
    expected_y, expected_dx = np.full(y.shape, np.nan), np.zeros(shape)
    for p, q, rows, columns in windows_of(shape, size, stride):
        window = x[:, rows, columns]
        expected_y[:, p, q] = window.mean(axis=(1, 2))
        share = dy[:, p, q] / (window.shape[1] * window.shape[2])
        expected_dx[:, rows, columns] += share[:, None, None]
    np.testing.assert_allclose(y, expected_y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("place", range(4))
def test_nan_stays_nan(place, backend):
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    x[0, place // 2, place % 2] = np.nan
    for pool in (MaxPool2D(2), AveragePool2D(2)):
        y = backend.to_host(pool.to(backend).forward(backend.asarray(x), train=True))
        assert np.isnan(y).sum() == 1
        assert np.isnan(y[0, 0, 0, 0])
    conv = Conv2D(1, 2, 2, weight_quantizer=SignSTE()).initialize(0).to(backend)
    assert np.isnan(backend.to_host(conv.forward(backend.asarray(x)))[0, 0, 0]).all()


def test_minus_infinity_and_signed_zeros():
    x = np.array([-np.inf, -np.inf, -0.0, 0.0], np.float32).reshape(1, 1, 4, 1)
    layer = MaxPool2D((1, 2)).initialize(0)
    y = layer.forward(x, train=True)
    np.testing.assert_array_equal(y.ravel(), [-np.inf, 0.0])
    dx = layer.backward(np.ones_like(y))
    np.testing.assert_array_equal(dx.ravel(), [1, 0, 1, 0])


# --- The whole image ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (2, 1, 1, 3), (1, 17, 3, 1), (0, 2, 2, 3)])
def test_global_average_pool_is_a_window_as_large_as_the_image(shape, backend, rng):
    x = rng.standard_normal(shape)
    layer = GlobalAveragePool2D().initialize(0, np.float64).to(backend)
    window = AveragePool2D(shape[1:3]).initialize(0, np.float64)
    y = backend.to_host(layer.forward(backend.asarray(x), train=True))
    np.testing.assert_allclose(y, window.forward(x, train=True)[:, 0, 0], rtol=1e-12, atol=1e-14)
    dy = rng.standard_normal(y.shape)
    dx = backend.to_host(layer.backward(backend.asarray(dy)))
    np.testing.assert_allclose(dx, window.backward(dy[:, None, None]), rtol=1e-12)


def test_the_mean_of_a_large_image_is_accurate(rng):
    """In float32 one sum over all pixels would be off by 1e-5 or more."""
    x = rng.uniform(0.5, 1.5, (1, 600, 600, 2)).astype(np.float32)
    y = GlobalAveragePool2D().forward(x)
    np.testing.assert_allclose(y, x.mean(axis=(1, 2), dtype=np.float64), rtol=2e-6)


def test_images_without_pixels_have_no_mean():
    with pytest.raises(ValueError, match="expected images with pixels, got x of shape"):
        GlobalAveragePool2D().forward(np.zeros((2, 0, 3, 4), np.float32))
    with pytest.raises(
        ValueError, match=r"GlobalAveragePool2D\(\): expected x of shape \(batch, h"
    ):
        GlobalAveragePool2D().forward(np.zeros((2, 3, 4), np.float32))
