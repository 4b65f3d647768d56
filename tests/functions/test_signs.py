"""The sign and the straight-through gradient: values, implementations, settings."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA
from devices import open_backend

from minibnn import (
    SignSTE,
)
from minibnn.backend import NumpyBackend
from minibnn.functions import sign
from minibnn.functions.signs import binary_sign, straight_through_gradient


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sign_of_every_zero_is_plus_one(dtype, backend):
    x = np.array([0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf], dtype)  # 1e-45: float32 subnormal
    y = backend.to_host(sign(backend.asarray(x)))
    np.testing.assert_array_equal(y, [1, 1, 1, -1, 1, -1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sign_does_not_hide_a_nan(dtype, backend):
    x = np.array([[1.0, np.nan], [-np.nan, -2.0]], dtype)
    y = backend.to_host(sign(backend.asarray(x)))
    np.testing.assert_array_equal(y, [[1, np.nan], [np.nan, -1]])
    empty = sign(backend.asarray(x[:0]))
    assert empty.shape == (0, 2)


# --- Implementations against their references, to the bit ---------------------------------------

# Larger than a kernel's block and no multiple of a vector; empty; one number.
SHAPES = [(1,), (3, 7), (33, 17), (4, 300), (2, 3, 5, 8), (0, 5), ()]


DTYPES = [np.float32, np.float64]


@pytest.fixture(params=["cpu", "NumPy", "strict", "gpu", "CUDA on the host"])
def device(request):
    """Every device with implementations; the last one runs the CUDA kernels on the host."""
    if request.param == "NumPy":
        return NumpyBackend()
    return HOST_CUDA if request.param == "CUDA on the host" else open_backend(request.param)


def awkward(rng, shape, dtype):
    """Both zeros, the smallest numbers, infinities, nan, the edges of a clip, and ordinary numbers."""
    x = rng.standard_normal(shape).astype(dtype)
    least = np.finfo(dtype).smallest_subnormal
    edges = (0.0, -0.0, least, -least, 3e38, -3e38, np.inf, -np.inf, np.nan, -np.nan, 1.0, -1.0)
    places = rng.random(shape) < 0.5
    return np.where(places, rng.choice(np.array(edges, dtype), shape), x).astype(dtype)


def layouts(a):
    """The same numbers in row-major order, in column-major order, and with gaps."""
    yield a
    if a.ndim:
        yield np.asfortranarray(a)
        yield np.repeat(a, 2, axis=0)[::2]
        yield a[::-1][::-1]


def same(got, expected):
    """Equal to the bit, except that any nan equals any other."""
    got, expected = np.asarray(got), np.asarray(expected)
    number = ~np.isnan(expected)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(np.isnan(got), ~number)
    assert got[number].tobytes() == expected[number].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_signs_are_the_references(shape, dtype, device, rng):
    x = awkward(rng, shape, dtype)
    expected = binary_sign(x)
    for laid in layouts(x):
        there = device.asarray(laid)
        same(device.to_host(device.run(binary_sign, there)), expected)
        same(device.to_host(there), x)  # the argument is unchanged


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("clip", [1, 1.0, 0.3, 1e-40])
def test_straight_through_gradients_are_the_references(clip, shape, dtype, device, rng):
    x, dy = awkward(rng, shape, dtype), awkward(rng, shape, dtype)
    with np.errstate(invalid="ignore"):
        expected = straight_through_gradient(dy, x, clip)
        for laid, dy_laid in product(layouts(x), layouts(dy)):
            there = device.asarray(dy_laid), device.asarray(laid)
            got = device.run(straight_through_gradient, *there, clip)
            same(device.to_host(got), expected)


def test_arguments_that_do_not_fit_are_the_references(device, rng):
    """An implementation declines arguments that it does not support; the reference then computes or raises."""
    dy, x = rng.standard_normal((2, 6, 4)).astype(np.float32)
    there = [device.asarray(a) for a in (dy, x, dy[:1], x.astype(np.float64))]
    for a, b, clip in ((0, 1, device.asarray(abs(x))), (0, 3, 1.0), (2, 1, 1.0), (0, 2, 1.0)):
        got = device.run(straight_through_gradient, there[a], there[b], clip)
        same(
            device.to_host(got), device.to_host(straight_through_gradient(there[a], there[b], clip))
        )
    with pytest.raises(ValueError, match="broadcast"):
        device.run(straight_through_gradient, there[0], there[1][:5], 1.0)
    whole = np.array([-3, 0, 7])
    same(device.to_host(device.run(binary_sign, device.asarray(whole))), np.array([-1, 1, 1]))


@pytest.mark.parametrize("clip", [0, -1.0, float("nan"), float("inf")])
def test_sign_refuses_a_clip_that_is_no_width(clip):
    with pytest.raises(ValueError, match="SignSTE: expected clip to be a positive number or None"):
        SignSTE(clip=clip)
