"""The CPU's convolution against its reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from devices import built
from window_cases import GEOMETRIES

from minibnn import (
    Conv2D,
)
from minibnn.backend import CPU
from minibnn.backend.cpu import convolution as cpu_convolution
from minibnn.backend.implementations import NUMPY
from minibnn.layers.conv import convolve, convolve_dW, convolve_dx
from minibnn.windows import Windows

# --- The CPU's own implementations ------------------------------------------------------------


def fast(reference, *arguments):
    """By the CPU's own implementation, which must not decline."""
    result = NUMPY[reference.__name__](CPU, *arguments)
    assert result is not NotImplemented
    return result


def whole(rng, shape):
    """Small whole numbers: their sums are exact in any order."""
    return rng.integers(-4, 5, shape).astype(np.float32)


def check_equal(X, W, dz, windows):
    """All three, exactly as the references."""
    for reference, arguments in (
        (convolve, (X, W, windows)),
        (convolve_dW, (X, dz, windows)),
        (convolve_dx, (dz, W, windows, X.shape)),
    ):
        expected = reference(*arguments)
        got = fast(reference, *arguments) if windows.groups == 1 else CPU.run(reference, *arguments)
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("values", [1, 500, 2**30])  # blocks of one image, of some, one block
@pytest.mark.parametrize(("shape", "out", "kernel", "options"), GEOMETRIES)
def test_blocks_of_images_compute_what_the_references_do(
    shape, out, kernel, options, values, rng, monkeypatch
):
    monkeypatch.setattr(cpu_convolution, "BLOCK", values)
    layer = Conv2D(shape[-1], out, kernel, **options)
    X, W = layer.pad(whole(rng, (7, *shape[1:]))), whole(rng, layer.weight.shape)
    dz = whole(rng, convolve(X, W, layer.windows).shape)
    check_equal(X, W, dz, layer.windows)


@built
@pytest.mark.parametrize(("padding", "expected"), [(0.0, [2]), (-1.0, [3, 1])])
def test_convolutions_of_signs_are_computed_on_bits(padding, expected, rng, monkeypatch):
    """A padding of -1 is signs, one of 0 is not."""
    layer = Conv2D(64, 64, 3, padding=1, padding_value=padding)
    signs = [np.where(whole(rng, s) < 0, np.float32(-1), np.float32(1)) for s in ((9, 9, 9, 64), (3, 3, 64, 64))]  # fmt: skip
    X, W = layer.pad(signs[0]), signs[1]
    dz = whole(rng, convolve(X, W, layer.windows).shape)
    kinds, call = [], CPU.c.product
    monkeypatch.setattr(CPU.c, "product", lambda *args: kinds.append(call(*args)) or kinds[-1])
    got = [
        fast(reference, *arguments)
        for reference, arguments in (
            (convolve, (X, W, layer.windows)),
            (convolve_dW, (X, dz, layer.windows)),
            (convolve_dx, (dz, W, layer.windows, X.shape)),
        )
    ]
    assert kinds == expected + 9 * [2]
    monkeypatch.setattr(CPU.c, "product", lambda *args: 0)
    np.testing.assert_array_equal(got[0], convolve(X, W, layer.windows))
    np.testing.assert_array_equal(got[1], convolve_dW(X, dz, layer.windows))
    np.testing.assert_array_equal(got[2], convolve_dx(dz, W, layer.windows, X.shape))


@pytest.mark.parametrize("values", [500, 2**30])
@pytest.mark.parametrize(("shape", "out", "kernel", "options"), GEOMETRIES)
def test_sums_of_any_floats_differ_by_roundings(
    shape, out, kernel, options, values, rng, monkeypatch
):
    """Two sums of the same n products differ by at most 2 n roundings of the sum of their sizes."""
    monkeypatch.setattr(cpu_convolution, "BLOCK", values)
    layer = Conv2D(shape[-1], out, kernel, **options)
    windows = layer.windows
    X = layer.pad(rng.standard_normal((7, *shape[1:])).astype(np.float32))
    W = rng.standard_normal(layer.weight.shape).astype(np.float32)
    dz = rng.standard_normal(convolve(X, W, windows).shape).astype(np.float32)
    for reference, arguments, terms in (
        (convolve, (X, W, windows), W[..., 0].size),
        (convolve_dW, (X, dz, windows), dz[..., 0].size),
        (convolve_dx, (dz, W, windows, X.shape), W[:, :, 0].size),
    ):
        sizes = reference(*(abs(a) if isinstance(a, np.ndarray) else a for a in arguments))
        error = abs(CPU.run(reference, *arguments) - reference(*arguments))
        assert (error <= 2 * terms * 2.0**-24 * sizes).all()


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("columns", [0, 1])
@pytest.mark.parametrize(("shape", "out", "kernel", "options"), GEOMETRIES)
def test_gradients_of_zeros_from_dropped_edges(shape, out, kernel, options, rows, columns, rng):
    """The CPU leaves them out; with nothing but zeros it must not leave out everything."""
    layer = Conv2D(shape[-1], out, kernel, **options)
    X, W = layer.pad(whole(rng, shape)), whole(rng, layer.weight.shape)
    dz = whole(rng, convolve(X, W, layer.windows).shape)
    dz[:, dz.shape[1] - rows :] = 0
    dz[:, :, dz.shape[2] - columns :] = 0
    check_equal(X, W, dz, layer.windows)


def test_views_are_taken_as_they_read(rng):
    X = whole(rng, (2, 6, 5, 8))[:, ::-1, :, 1::2]
    W = whole(rng, (5, 4, 3, 3)).T
    dz = whole(rng, (5, 2, 4, 3)).transpose(1, 2, 3, 0)
    assert not any(a.flags.c_contiguous for a in (X, W, dz))
    check_equal(X, W, dz, Windows((3, 3)))


def test_nan_goes_where_the_references_send_it(rng):
    X, W, dz = whole(rng, (2, 5, 5, 2)), whole(rng, (2, 2, 2, 3)), whole(rng, (2, 4, 4, 3))
    dz[:, -1, -1] = 1  # an edge of zeros is left out, where 0 times nan would be nan
    for a in (X, W, dz):
        spoiled = [b.copy() for b in (X, W, dz)]
        at = [a is b for b in (X, W, dz)].index(True)
        spoiled[at][-1, -1, -1, 0] = np.nan
        check_equal(*spoiled, Windows((2, 2)))


def test_an_empty_batch_is_computed_as_by_the_references(rng):
    X, dz = np.zeros((0, 5, 5, 2), np.float32), np.zeros((0, 4, 4, 3), np.float32)
    check_equal(X, whole(rng, (2, 2, 2, 3)), dz, Windows((2, 2)))


def test_what_the_cpu_does_not_take_is_declined(rng):
    """Other dtypes, groups of channels, and shapes that do not fit: for the reference to judge."""
    X, W, dz = whole(rng, (2, 5, 5, 2)), whole(rng, (2, 2, 2, 3)), whole(rng, (2, 4, 4, 3))
    windows = Windows((2, 2))
    check_equal(X, W, dz, windows)
    for x, w, g, seen in (
        (X.astype(np.float64), W.astype(np.float64), dz.astype(np.float64), windows),
        (X.astype(np.float64), W, dz.astype(np.float64), windows),
        (X, W, dz, windows._replace(groups=2)),
        (X, np.ones((6, 6, 2, 3), np.float32), dz[:, :0, :0], Windows((6, 6))),
        (X[0], W[0], dz[0], windows),
        (X, np.concatenate([W, W], axis=2), dz[:, 1:], windows),
        (X, W[1:], dz[1:], windows),
    ):
        assert NUMPY["convolve"](CPU, x, w, seen) is NotImplemented
        assert NUMPY["convolve_dW"](CPU, x, g, seen) is NotImplemented
        assert NUMPY["convolve_dx"](CPU, g, w, seen, X.shape) is NotImplemented
    with pytest.raises(ValueError, match="mismatch"):
        CPU.run(convolve, X, np.concatenate([W, W], axis=2), windows)


@pytest.mark.parametrize("batch", [1, 2, 40])
def test_an_edge_is_dropped_only_where_all_samples_have_zeros(batch, rng):
    """One nonzero number in the last row, or column, of any sample and channel keeps all of it."""
    dz = rng.standard_normal((batch, 4, 5, 3)).astype(np.float32)
    dz[:, -1] = dz[:, :, -1] = 0
    assert cpu_convolution.without_zero_edge(dz).shape == (batch, 3, 4, 3)
    for n, k, c in itertools.product({0, batch - 1}, (0, 2), (0, 2)):
        for kept, place in (((4, 4), (n, 3, k, c)), ((3, 5), (n, k, 4, c)), ((4, 5), (n, 3, 4, c))):
            one = dz.copy()
            one[place] = 1e-30
            np.testing.assert_array_equal(
                cpu_convolution.without_zero_edge(one), one[:, : kept[0], : kept[1]]
            )
    one_row = np.zeros((batch, 1, 1, 2), np.float32)
    assert cpu_convolution.without_zero_edge(one_row).shape == one_row.shape
