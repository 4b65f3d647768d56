"""The GPU's backend: which products go through our own cuBLAS handle, and in which precision."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA

from minibnn.backend.cuda import cublas
from minibnn.backend.cuda.backend import CupyBackend
from minibnn.functions import sign
from minibnn.layers.conv import convolve, convolve_dW, convolve_dx
from minibnn.windows import Windows


class Products:
    """Stands in for `Cublas`."""

    def __init__(self):
        self.tf32 = []

    def multiply(self, a, b, out, *, tf32):
        assert cublas.fits(a)
        assert cublas.fits(b)
        self.tf32.append(tf32)
        np.matmul(a.astype(out.dtype), b.astype(out.dtype), out=out)


@pytest.fixture
def products(monkeypatch):
    products = Products()
    monkeypatch.setattr(HOST_CUDA, "_cublas", products, raising=False)
    monkeypatch.setattr(HOST_CUDA, "matmul", CupyBackend.matmul.__get__(HOST_CUDA))
    return products


def test_the_backend_multiplies_whatever_layers_give_it(products, rng):
    a, b = rng.standard_normal((4, 6)), rng.standard_normal((6, 5))
    expected = a @ b
    np.testing.assert_array_equal(HOST_CUDA.matmul(a, b), expected)
    np.testing.assert_array_equal(HOST_CUDA.matmul(np.repeat(a, 2, 1)[:, ::2], b), expected)
    for out in (np.empty((4, 5)), np.empty((5, 4)).T, np.empty((4, 5), np.float32)):
        assert HOST_CUDA.matmul(a, b, out=out) is out
        np.testing.assert_array_equal(out, expected.astype(out.dtype))
    groups = HOST_CUDA.matmul(np.stack([a, -a]), np.stack([b, b]))
    np.testing.assert_array_equal(groups, [expected, -expected])
    assert len(products.tf32) == 7
    np.testing.assert_allclose(HOST_CUDA.matmul(a, b[:, 0]), expected[:, 0])  # NumPy's product
    with pytest.raises(ValueError, match="mismatch"):
        HOST_CUDA.matmul(a, a)
    assert len(products.tf32) == 7


def test_only_who_asks_for_tf32_gets_it(products, rng):
    """Products of signs do not get it either, although they would be exact."""
    x, W = rng.standard_normal((2, 8, 8)).astype(np.float32)
    for a, b in ((sign(x), sign(W)), (x, W)):
        HOST_CUDA.matmul(a, b)
    HOST_CUDA.tf32 = True
    try:
        HOST_CUDA.matmul(x, W)
    finally:
        HOST_CUDA.tf32 = False
    assert products.tf32 == [False, False, True]


def test_convolutions_multiply_through_the_handle(products, rng):
    x, W = (rng.integers(-4, 5, n).astype(np.float32) for n in ((2, 6, 6, 3), (3, 3, 3, 4)))
    windows = Windows((3, 3))
    z = convolve(x, W, windows)
    for reference, arguments in (
        (convolve, (x, W, windows)),
        (convolve_dW, (x, z, windows)),
        (convolve_dx, (z, W, windows, x.shape)),
    ):
        result = HOST_CUDA.run(reference, *arguments)
        np.testing.assert_array_equal(result, reference(*arguments))
    assert products.tf32 == [False] * 3
