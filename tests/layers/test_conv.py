"""Convolution against six plain loops, and the special cases that are dense layers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import strictdev
from devices import STRICT
from window_cases import GEOMETRIES, pair

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
    positions = list(
        itertools.product(
            range(down), range(across), range(outputs), range(kh), range(kw), range(group_in)
        )
    )
    where = [
        (p * sh + i * eh, q * sw + j * ew, o // group_out * group_in + c)
        for p, q, o, i, j, c in positions
    ]
    for (p, q, o, i, j, c), (row, column, channel) in zip(positions, where, strict=True):
        z[:, p, q, o] += X[:, row, column, channel] * W[i, j, c, o]
    z += b
    dz = dz_of(z)
    dW, dX = np.zeros(W.shape), np.zeros(X.shape)
    for (p, q, o, i, j, c), (row, column, channel) in zip(positions, where, strict=True):
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


def test_an_empty_batch_passes():
    layer = Conv2D(2, 3, 2).initialize(0)
    z = layer.forward(np.zeros((0, 4, 4, 2), np.float32), train=True)
    assert (z.shape, layer.backward(z).shape) == ((0, 3, 3, 3), (0, 4, 4, 2))
    np.testing.assert_array_equal(layer.weight.grad, np.zeros((2, 2, 2, 3)))


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


@pytest.mark.parametrize(("shape", "where"), [((3, 5, 5, 2), 2), ((3, 5, 5, 2), 1)])
def test_a_sample_alone_may_use_the_last_row_and_column(shape, where, rng):
    """All other samples have zeros there; the gradients still equal those of the loops."""
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
    """In float32 a plain sum over the positions is off by 1e-5 or more of the sum of |dz|."""
    layer = Conv2D(1, 2, 1).initialize(rng)
    x = np.zeros((100, 40, 40, 1), np.float32)
    layer.forward(x, train=True)
    dz = rng.uniform(0.5, 1.5, (100, 40, 40, 2)).astype(np.float32)
    layer.backward(dz, need_dx=False)
    expected = dz.sum(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(layer.bias.grad, expected, rtol=1e-6)
