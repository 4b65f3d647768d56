"""Matrix products by cuBLAS, with a stand-in that multiplies as cuBLAS's manual says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from cublas_stand_in import Library, OnDevice
from fake_cupy import fake_cuda

from minibnn.backend.cuda import cublas
from minibnn.backend.cuda.device import Device


@pytest.fixture
def library(monkeypatch):
    library = Library()
    monkeypatch.setattr(cublas, "_load", lambda: library)
    return library


def fake_cupy():
    cuda = fake_cuda()
    cuda.alloc = lambda size: SimpleNamespace(ptr=4096, size=size)
    cuda.stream = 7
    cuda.get_current_stream = lambda: SimpleNamespace(ptr=cuda.stream)
    return SimpleNamespace(cuda=cuda)


def open_products(cupy):
    return cublas.Cublas(cupy, Device(cupy))


def layouts(a):
    """The same matrix in every layout in memory."""
    n, m = a.shape
    wide = np.full((n + 1, m + 3), np.nan, a.dtype)
    wide[:n, :m] = a
    tall = np.full((m + 2, n + 3), np.nan, a.dtype)
    tall[:m, :n] = a.T
    return [a.copy(), np.asfortranarray(a), wide[:n, :m], tall[:m, :n].T]


@pytest.mark.parametrize(
    "shape", [(5, 7, 3), (1, 7, 3), (5, 1, 3), (5, 7, 1), (1, 1, 1), (64, 20, 10)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_products_of_matrices_in_every_layout(shape, dtype, library, rng):
    n, k, m = shape
    products = open_products(fake_cupy())
    a, b = rng.integers(-9, 10, (n, k)).astype(dtype), rng.integers(-9, 10, (k, m)).astype(dtype)
    result = np.float32 if dtype == np.float16 else dtype
    for left in layouts(a):
        for right in layouts(b):
            assert cublas.fits(OnDevice(left))
            out = np.full((n, m), np.nan, result)
            products.multiply(OnDevice(left), OnDevice(right), OnDevice(out), tf32=False)
            np.testing.assert_array_equal(out, a.astype(result) @ b.astype(result))


def test_what_no_layout_fits():
    a = np.zeros((8, 6), np.float32)
    for strided in (a[:, ::2], a[::-1], a[:, ::-1], np.broadcast_to(a[:1], (4, 6))):
        assert not cublas.fits(OnDevice(strided))


def test_empty_sums_are_zeros(library):
    products = open_products(fake_cupy())
    out = np.full((2, 3), np.nan, np.float32)
    empty = [OnDevice(np.zeros(shape, np.float32)) for shape in ((2, 0), (0, 3))]
    products.multiply(*empty, OnDevice(out), tf32=False)
    np.testing.assert_array_equal(out, np.zeros((2, 3)))
    assert library.computes == []


def test_each_stream_has_a_handle_and_its_workspace_is_set_last(library):
    cupy = fake_cupy()
    products = open_products(cupy)
    one = OnDevice(np.ones((2, 2), np.float32))
    for stream in (7, 7, 8, 7):
        cupy.cuda.stream = stream
        products.multiply(one, one, OnDevice(np.empty((2, 2), np.float32)), tf32=False)
    calls = [call for call in library.calls if call[0] != "Create_v2"]
    assert calls == [
        call
        for stream in (7, 8)
        for call in (
            ("SetMathMode", cublas.DEFAULT_MATH),
            ("SetStream_v2", stream),
            ("SetWorkspace_v2", 4096, cublas.WORKSPACE),
        )
    ]


def test_precision(library):
    products = open_products(fake_cupy())
    for dtype in (np.float32, np.float64, np.float16):
        one = OnDevice(np.ones((2, 2), dtype))
        out = np.float64 if dtype == np.float64 else np.float32
        for tf32 in (False, True):
            products.multiply(one, one, OnDevice(np.empty((2, 2), out)), tf32=tf32)
    exact, rounded = cublas.COMPUTE_32, cublas.COMPUTE_32_AS_TF32
    assert library.computes == [exact, rounded, cublas.COMPUTE_64, cublas.COMPUTE_64, exact, exact]


def test_a_status_is_an_error(library, monkeypatch):
    products = open_products(fake_cupy())
    monkeypatch.setattr(library, "cublasGemmEx", lambda *arguments: 13)
    one = OnDevice(np.ones((2, 2), np.float32))
    with pytest.raises(RuntimeError, match="cublasGemmEx answered with status 13"):
        products.multiply(one, one, one, tf32=False)
