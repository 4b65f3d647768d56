"""Convolution and pooling against six plain loops, and what they reduce to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import strictdev
from devices import STRICT
from window_cases import GEOMETRIES, POOLS, pair

from minibnn import (
    AveragePool2D,
    Blocked,
    Conv2D,
    Dense,
    Fill,
    FixedFeedback,
    Flatten,
    MaxPool2D,
    Reshape,
    SignSTE,
)
from minibnn.backend import CPU
from minibnn.backend.cpu import convolution as cpu_convolution
from minibnn.backend.implementations import NUMPY
from minibnn.layers.conv import convolve, convolve_dW, convolve_dx
from minibnn.windows import Windows


def reference(x, W, b, dz_of, *, stride=1, padding=0, padding_value=0.0, dilation=1, groups=1):
    """Forward and gradients, one multiplication at a time."""
    (sh, sw), (ph, pw), (eh, ew) = pair(stride), pair(padding), pair(dilation)
    batch, height, width, channels = x.shape
    kh, kw, group_in, outputs = W.shape
    group_out = outputs // groups
    X = np.full((batch, height + 2 * ph, width + 2 * pw, channels), float(padding_value))
    X[:, ph : ph + height, pw : pw + width] = x
    down = len(range(0, X.shape[1] - (kh - 1) * eh, sh))
    across = len(range(0, X.shape[2] - (kw - 1) * ew, sw))
    z = np.zeros((batch, down, across, outputs))
    places = list(
        itertools.product(
            range(down), range(across), range(outputs), range(kh), range(kw), range(group_in)
        )
    )
    where = [
        (p * sh + i * eh, q * sw + j * ew, o // group_out * group_in + c)
        for p, q, o, i, j, c in places
    ]
    for (p, q, o, i, j, c), (row, column, channel) in zip(places, where, strict=True):
        z[:, p, q, o] += X[:, row, column, channel] * W[i, j, c, o]
    z += b
    dz = dz_of(z)
    dW, dX = np.zeros(W.shape), np.zeros(X.shape)
    for (p, q, o, i, j, c), (row, column, channel) in zip(places, where, strict=True):
        dW[i, j, c, o] += (X[:, row, column, channel] * dz[:, p, q, o]).sum()
        dX[:, row, column, channel] += dz[:, p, q, o] * W[i, j, c, o]
    dx = dX[:, ph : ph + height, pw : pw + width]
    return z, dz, dW, dz.sum(axis=(0, 1, 2)), dx


@pytest.mark.parametrize(("shape", "out", "kernel", "options"), GEOMETRIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_convolution_is_six_loops(shape, out, kernel, options, dtype, backend, rng):
    layer = Conv2D(shape[-1], out, kernel, **options).initialize(0, dtype).to(backend)
    layer.bias.data[...] = backend.asarray(rng.standard_normal(out).astype(dtype))
    host = backend.to_host
    x = rng.standard_normal(shape).astype(dtype)
    z, dz, *gradients = reference(
        x, host(layer.weight.data), host(layer.bias.data),
        lambda z: rng.standard_normal(z.shape).astype(dtype), **options
    )  # fmt: skip
    # Sums of at most a few hundred products of order one.
    near = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(host(layer.forward(backend.asarray(x), train=True)), z, **near)
    dx = layer.backward(backend.asarray(dz))
    got = (layer.weight.grad, layer.bias.grad, dx)
    for gradient, expected in zip(got, gradients, strict=True):
        np.testing.assert_allclose(host(gradient), expected, **near)


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


def test_an_empty_batch_passes():
    layer = Conv2D(2, 3, 2).initialize(0)
    z = layer.forward(np.zeros((0, 4, 4, 2), np.float32), train=True)
    assert (z.shape, layer.backward(z).shape) == ((0, 3, 3, 3), (0, 4, 4, 2))
    np.testing.assert_array_equal(layer.weight.grad, np.zeros((2, 2, 2, 3)))


def test_windows_that_overlap():
    for size, stride, dilation, overlap in [
        ((2, 2), (2, 2), (1, 1), False),
        ((2, 2), (1, 2), (1, 1), True),
        ((2, 2), (2, 1), (1, 1), True),
        ((2, 1), (3, 1), (2, 1), False),
        ((2, 1), (2, 1), (2, 1), True),
    ]:
        windows = Windows(size, stride, dilation)
        seen = np.zeros((1, 6, 6, 1), int)
        for _, _, rows, columns in windows.positions(windows.counts(seen.shape)):
            seen[:, rows, columns] += 1
        assert windows.overlap == overlap == (seen.max() > 1)


def test_a_small_convolution_by_hand():
    layer = Conv2D(1, 1, 2, weight_quantizer=SignSTE()).initialize(0)
    layer.weight.data[..., 0, 0] = [[0.5, -0.5], [-0.0, 0.1]]  # +1 -1 / +1 +1
    x = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(layer.forward(x, train=True)[0, :, :, 0], [[8, 10], [14, 16]])
    dx = layer.backward(np.array([[1, 2], [0, -1]], np.float32).reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 1, -2], [1, 2, 3], [0, -1, -1]])
    np.testing.assert_array_equal(layer.weight.grad[..., 0, 0], [[0, 2], [6, 8]])


def filled(layer, weight, bias):
    layer.weight.data[...] = weight.reshape(layer.weight.shape)
    layer.bias.data[...] = bias
    return layer


def both_ways(layer, x, dz_flat):
    z = layer.forward(x, train=True)
    dx = layer.backward(dz_flat.reshape(z.shape))
    return z.reshape(dz_flat.shape), dx, layer.weight.grad.ravel(), layer.bias.grad


def test_a_kernel_of_one_pixel_is_dense_on_each_pixel(rng):
    x, dz = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((24, 6))
    W, b = rng.standard_normal((5, 6)), rng.standard_normal(6)
    conv = filled(Conv2D(5, 6, 1).initialize(0, np.float64), W, b)
    dense = filled(Dense(5, 6).initialize(0, np.float64), W, b)
    for a, b in zip(both_ways(conv, x, dz), both_ways(dense, x.reshape(24, 5), dz), strict=True):
        np.testing.assert_allclose(a, b.reshape(a.shape), rtol=1e-12, atol=1e-12)


def test_a_kernel_as_large_as_the_image_is_dense(rng):
    x, dz = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 6))
    W, b = rng.standard_normal((60, 6)), rng.standard_normal(6)
    conv = filled(Conv2D(5, 6, (3, 4)).initialize(0, np.float64), W, b)
    dense = filled(Dense(60, 6).initialize(0, np.float64), W, b)
    for a, b in zip(
        both_ways(conv, x, dz), both_ways(dense, Flatten().forward(x), dz), strict=True
    ):
        np.testing.assert_allclose(a, b.reshape(a.shape), rtol=1e-12, atol=1e-12)


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


@pytest.mark.parametrize(("shape", "where"), [((3, 5, 5, 2), 2), ((3, 5, 5, 2), 1)])
def test_a_sample_alone_may_use_the_last_row_and_column(shape, where, rng):
    """The pooled windows of the other samples left zeros there: the gradients are the loops'."""
    layer = Conv2D(2, 3, 2).initialize(0, np.float64)
    x = rng.standard_normal(shape)

    def dz_of(z):
        dz = rng.standard_normal(z.shape)
        others = [n for n in range(len(dz)) if n != where]
        dz[others, -1] = dz[others, :, -1] = 0
        return dz

    z, dz, dW, db, dx = reference(x, layer.weight.data, layer.bias.data, dz_of)
    np.testing.assert_allclose(layer.forward(x, train=True), z, atol=1e-12)
    np.testing.assert_allclose(layer.backward(dz), dx, atol=1e-12)
    np.testing.assert_allclose(layer.weight.grad, dW, atol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, db, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
def test_feedback_alignment_with_b_equal_to_w_is_backpropagation(groups, backend, rng):
    x = backend.asarray(rng.standard_normal((2, 5, 4, 4)).astype(np.float32))
    results = []
    for feedback in (None, FixedFeedback()):
        layer = Conv2D(4, 6, 2, padding=1, groups=groups, feedback=feedback)
        layer.initialize(0).to(backend)
        if feedback is not None:
            assert feedback.weights.data.shape == (2, 2, 4 // groups, 6)
            feedback.weights.data[...] = layer.weight.data
        dz = layer.forward(x, train=True) * 0.5 + 1
        results.append([backend.to_host(a) for a in (layer.backward(dz), layer.weight.grad)])
    for true, aligned in zip(*results, strict=True):
        np.testing.assert_array_equal(aligned, true)


def test_blocked_sends_zeros_and_still_learns(rng):
    layer = Conv2D(2, 3, 2, padding=1, feedback=Blocked()).initialize(0, np.float64)
    x = rng.standard_normal((2, 3, 3, 2))
    dx = layer.backward(np.ones_like(layer.forward(x, train=True)))
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    assert abs(layer.weight.grad).min() > 0


@pytest.mark.parametrize("kernel", [1, 2, 3, (4, 5)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_keeps_the_size(kernel, dilation):
    layer = Conv2D(1, 2, kernel, padding="same", dilation=dilation).initialize(0)
    assert layer.forward(np.ones((2, 9, 10, 1), np.float32)).shape == (2, 9, 10, 2)


def test_same_padding_gives_the_odd_row_to_the_end():
    layer = Conv2D(1, 1, 2, padding="same", bias=False, weight_init=Fill(1.0)).initialize(0)
    z = layer.forward(np.array([[1, 2], [3, 4]], np.float32).reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(z[0, :, :, 0], [[10, 6], [7, 4]])


def test_the_padding_keeps_a_binary_network_binary():
    """With +1 and -1 in windows of 9 all sums are odd; a padding of zeros breaks that."""
    x = np.where(np.arange(16).reshape(1, 4, 4, 1) % 3, 1, -1).astype(np.float32)
    for value in (-1, 1, 0):
        layer = Conv2D(
            1, 2, 3, padding=1, padding_value=value, bias=False, weight_quantizer=SignSTE()
        )
        odd = (layer.initialize(0).forward(x) % 2 == 1).all()
        assert odd == (value != 0)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Conv2D(1, 2, 0), ValueError, "kernel_size of at least 1"),
        (lambda: Conv2D(1, 2, 3.0), TypeError, "kernel_size to be an integer or a pair"),
        (lambda: Conv2D(1, 2, (3, 3, 3)), TypeError, "kernel_size to be an integer or a pair"),
        (lambda: Conv2D(1, 2, 3, stride=0), ValueError, "stride of at least 1"),
        (lambda: Conv2D(1, 2, 3, padding=-1), ValueError, "padding of at least 0"),
        (lambda: Conv2D(1, 2, 3, padding="valid"), TypeError, 'or "same"'),
        (lambda: Conv2D(1, 2, 3, padding="same", stride=2), ValueError, "a stride of 1"),
        (lambda: Conv2D(1, 2, 3, padding_value=0.5), ValueError, "padding_value 0, -1 or \\+1"),
        (lambda: Conv2D(1, 2, 3, dilation=(1, 0)), ValueError, "dilation of at least 1"),
        (lambda: Conv2D(4, 6, 3, groups=4), ValueError, "groups to divide"),
        (lambda: Conv2D(3, 6, 3, groups=2), ValueError, "groups to divide"),
        (lambda: Conv2D(4, 4, 3, groups=0), ValueError, "groups to divide"),
        (lambda: Conv2D(1.0, 2, 3), TypeError, "in_channels of type int"),
        (lambda: Conv2D(1, 2, 3, weight_quantizer=SignSTE), TypeError, "the class SignSTE"),
        (lambda: MaxPool2D("2"), TypeError, "size to be an integer or a pair"),
        (lambda: AveragePool2D(2, stride=0), ValueError, "stride of at least 1"),
        (lambda: Reshape((2, 0)), ValueError, "sizes of at least 1"),
    ],
)
def test_wrong_arguments(make, error, match):
    with pytest.raises(error, match=match):
        make()


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


def test_bytes_are_told_to_become_floats():
    with pytest.raises(TypeError, match="Rescale"):
        Conv2D(1, 2, 3).initialize(0).forward(np.zeros((2, 5, 5, 1), np.uint8))


def test_reshape_takes_bytes_and_says_what_does_not_fit():
    y = Reshape((2, 3, 1)).forward(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    assert (y.dtype, y.shape, y[1, 1, 2, 0]) == (np.uint8, (2, 2, 3, 1), 11)
    with pytest.raises(ValueError, match="expected samples of 6 values"):
        Reshape((2, 3)).forward(np.zeros((2, 7)))


def test_the_short_names():
    assert str(Conv2D(1, 2, 3)) == "Conv2D(1 -> 2, 3x3)"
    assert repr(Conv2D(2, 2, (1, 2), stride=2, groups=2, bias=False)) == (
        "Conv2D(2 -> 2, 1x2, stride=(2, 2), groups=2, bias=False)"
    )
    assert str(Conv2D(1, 2, 3, padding=1, padding_value=-1)) == (
        "Conv2D(1 -> 2, 3x3, padding=(1, 1), padding_value=-1.0)"
    )
    assert str(Conv2D(1, 2, 2, padding="same")) == 'Conv2D(1 -> 2, 2x2, padding="same")'
    assert str(Conv2D(1, 2, 3, padding="same")) == "Conv2D(1 -> 2, 3x3, padding=(1, 1))"
    assert repr(MaxPool2D(2)) == "MaxPool2D(2x2)"
    assert repr(AveragePool2D((2, 3), stride=1)) == "AveragePool2D(2x3, stride=(1, 1))"


# --- Pooling ----------------------------------------------------------------------------------


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


# --- The device -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        Conv2D(2, 4, 3, stride=2, padding=1, padding_value=-1, groups=2),
        Conv2D(2, 4, 2, feedback=Blocked()),
        MaxPool2D(2),
        AveragePool2D(3, stride=2),
        Reshape((2, 25)),
    ],
    ids=str,
)
def test_a_step_reads_nothing_back(layer):
    layer.initialize(0).to(STRICT)
    x = STRICT.asarray(np.ones((2, 5, 5, 2), np.float32))
    with strictdev.no_sync():
        layer.backward(layer.forward(x, train=True) * 2)


def test_the_bias_gradient_of_large_images_is_accurate(rng):
    """In float32 a plain sum over the places is off by 1e-5 and more of the sum of |dz|."""
    layer = Conv2D(1, 2, 1).initialize(rng)
    x = np.zeros((100, 40, 40, 1), np.float32)
    layer.forward(x, train=True)
    dz = rng.uniform(0.5, 1.5, (100, 40, 40, 2)).astype(np.float32)
    layer.backward(dz, need_dx=False)
    expected = dz.sum(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(layer.bias.grad, expected, rtol=1e-6)
