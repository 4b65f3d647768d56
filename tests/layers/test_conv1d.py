"""Convolution of signals against plain loops, and against images of one row."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import strictdev
from devices import STRICT

from minibnn import Blocked, Conv1D, Conv2D, Fill, FixedFeedback, SignSTE

SHAPES = [
    ((2, 6, 3), 4, 3, {}),
    ((3, 5, 1), 2, 1, {}),
    ((1, 4, 2), 3, 4, {}),  # one window
    ((2, 8, 2), 3, 3, {"stride": 2}),  # the last value is left over
    ((2, 7, 2), 3, 2, {"stride": 3}),  # values between the windows, too
    ((2, 5, 2), 3, 3, {"padding": 1}),
    ((2, 5, 2), 3, 4, {"padding": 2, "padding_value": 1.0, "stride": 2}),
    ((2, 2, 1), 2, 3, {"padding": 2, "padding_value": -1.0}),  # windows that see only the padding
    ((2, 9, 2), 3, 3, {"dilation": 3}),
    ((2, 7, 4), 6, 2, {"groups": 2, "dilation": 2, "padding": 1}),
    ((2, 6, 3), 3, 3, {"groups": 3}),  # depthwise
]


def reference(x, W, b, dz_of, *, stride=1, padding=0, padding_value=0.0, dilation=1, groups=1):
    """Forward and gradients, one multiplication at a time."""
    batch, length, channels = x.shape
    kernel, group_in, outputs = W.shape
    group_out = outputs // groups
    X = np.full((batch, length + 2 * padding, channels), float(padding_value))
    X[:, padding : padding + length] = x
    count = len(range(0, X.shape[1] - (kernel - 1) * dilation, stride))
    z = np.zeros((batch, count, outputs)) + b
    places = [
        (p, i, o, c, p * stride + i * dilation, o // group_out * group_in + c)
        for p, i, o, c in itertools.product(*map(range, (count, kernel, outputs, group_in)))
    ]
    for p, i, o, c, at, channel in places:
        z[:, p, o] += X[:, at, channel] * W[i, c, o]
    dz = dz_of(z)
    dW, dX = np.zeros(W.shape), np.zeros(X.shape)
    for p, i, o, c, at, channel in places:
        dW[i, c, o] += (X[:, at, channel] * dz[:, p, o]).sum()
        dX[:, at, channel] += dz[:, p, o] * W[i, c, o]
    return z, dz, dW, dz.sum(axis=(0, 1)), dX[:, padding : padding + length]


@pytest.mark.parametrize(("shape", "out", "kernel", "options"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_convolution_is_four_loops(shape, out, kernel, options, dtype, backend, rng):
    layer = Conv1D(shape[-1], out, kernel, **options).initialize(0, dtype).to(backend)
    layer.bias.data[...] = backend.asarray(rng.standard_normal(out).astype(dtype))
    host = backend.to_host
    x = rng.standard_normal(shape).astype(dtype)
    z, dz, *gradients = reference(
        x, host(layer.weight.data), host(layer.bias.data),
        lambda z: rng.standard_normal(z.shape).astype(dtype), **options
    )  # fmt: skip
    # Sums of at most a few dozen products of order one.
    near = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(host(layer.forward(backend.asarray(x), train=True)), z, **near)
    dx = layer.backward(backend.asarray(dz))
    for gradient, expected in zip((layer.weight.grad, layer.bias.grad, dx), gradients, strict=True):
        np.testing.assert_allclose(host(gradient), expected, **near)


@pytest.mark.parametrize(("shape", "out", "kernel", "options"), SHAPES)
def test_it_is_conv2d_on_images_of_one_row(shape, out, kernel, options, rng):
    """To the last bit: both run on the same products."""
    options = {**options, "weight_quantizer": SignSTE()}
    signals = Conv1D(shape[-1], out, kernel, **options).initialize(4)
    pairs = {k: (0 if k == "padding" else 1, options[k]) for k in ("stride", "padding", "dilation")
             if k in options}  # fmt: skip
    images = Conv2D(shape[-1], out, (1, kernel), **(options | pairs)).initialize(4)
    np.testing.assert_array_equal(images.weight.data[0], signals.weight.data)
    x = rng.standard_normal(shape).astype(np.float32)
    z = signals.forward(x, train=True)
    np.testing.assert_array_equal(images.forward(x[:, None], train=True)[:, 0], z)
    dz = rng.standard_normal(z.shape).astype(np.float32)
    dx = signals.backward(dz)
    np.testing.assert_array_equal(images.backward(dz[:, None])[:, 0], dx)
    np.testing.assert_array_equal(images.weight.grad[0], signals.weight.grad)


def test_a_small_convolution_by_hand():
    layer = Conv1D(1, 1, 2, weight_quantizer=SignSTE()).initialize(0)
    layer.weight.data[:, 0, 0] = [0.5, -0.1]  # +1 -1
    x = np.array([1, 4, 9, 16], np.float32).reshape(1, 4, 1)
    np.testing.assert_array_equal(layer.forward(x, train=True)[0, :, 0], [-3, -5, -7])
    dx = layer.backward(np.array([1, 2, 3], np.float32).reshape(1, 3, 1))
    np.testing.assert_array_equal(dx[0, :, 0], [1, 1, 1, -3])
    np.testing.assert_array_equal(layer.weight.grad[:, 0, 0], [36, 70])


def test_an_empty_batch_passes():
    layer = Conv1D(2, 3, 2).initialize(0)
    z = layer.forward(np.zeros((0, 4, 2), np.float32), train=True)
    assert (z.shape, layer.backward(z).shape) == ((0, 3, 3), (0, 4, 2))
    np.testing.assert_array_equal(layer.weight.grad, np.zeros((2, 2, 3)))


def test_feedback_replaces_the_weights_on_the_way_back(rng):
    x = rng.standard_normal((2, 5, 4)).astype(np.float32)
    results = []
    for feedback in (None, FixedFeedback()):
        layer = Conv1D(4, 6, 2, padding=1, groups=2, feedback=feedback).initialize(0)
        if feedback is not None:
            assert feedback.weights.data.shape == (2, 2, 6)
            feedback.weights.data[...] = layer.weight.data
        dz = layer.forward(x, train=True) * 0.5 + 1
        results.append([layer.backward(dz), layer.weight.grad])
    for true, aligned in zip(*results, strict=True):
        np.testing.assert_array_equal(aligned, true)
    layer = Conv1D(4, 6, 2, feedback=Blocked()).initialize(0)
    dx = layer.backward(np.ones_like(layer.forward(x, train=True)))
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    assert abs(layer.weight.grad).min() > 0


@pytest.mark.parametrize("kernel", [1, 2, 3, 6])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_keeps_the_length(kernel, dilation):
    layer = Conv1D(1, 2, kernel, padding="same", dilation=dilation).initialize(0)
    assert layer.forward(np.ones((2, 9, 1), np.float32)).shape == (2, 9, 2)


def test_same_padding_gives_the_odd_value_to_the_end():
    layer = Conv1D(1, 1, 2, padding="same", bias=False, weight_init=Fill(1.0)).initialize(0)
    x = np.array([1, 2, 4], np.float32).reshape(1, 3, 1)
    assert layer.forward(x)[0, :, 0].tolist() == [3, 6, 4]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Conv1D(1, 2, 0), ValueError, "kernel_size of at least 1"),
        (lambda: Conv1D(1, 2, 3.0), TypeError, "kernel_size of type int"),
        (lambda: Conv1D(1, 2, (3, 3)), TypeError, "Conv1D: expected kernel_size of type int"),
        (lambda: Conv1D(1, 2, 3, stride=0), ValueError, "stride of at least 1"),
        (lambda: Conv1D(1, 2, 3, padding=-1), ValueError, "padding of at least 0"),
        (lambda: Conv1D(1, 2, 3, padding=-2), ValueError, "padding of at least 0"),
        (lambda: Conv1D(1, 2, 3, padding="valid"), TypeError, 'an integer or "same", got'),
        (lambda: Conv1D(1, 2, 3, padding="same", stride=2), ValueError, "a stride of 1"),
        (lambda: Conv1D(1, 2, 3, padding_value=2), ValueError, "Conv1D: expected padding_value 0"),
        (lambda: Conv1D(1, 2, 3, dilation=0), ValueError, "dilation of at least 1"),
        (lambda: Conv1D(4, 6, 3, groups=4), ValueError, "Conv1D: expected groups to divide"),
        (lambda: Conv1D(1, 2, 3, weight_quantizer=SignSTE), TypeError, "the class SignSTE"),
    ],
)
def test_wrong_arguments(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        (
            (5, 3),
            r"\(batch, length, 3\), got \(5, 3\); for a single signal, .* x\[None\]; for a batch .* Reshape\(\(3, 1\)\) first",
        ),
        ((5, 12), r"got \(5, 12\); put Reshape\(\(4, 3\)\) first$"),
        ((5, 3, 8), r"got \(5, 3, 8\); channels are the last axis: x.transpose\(0, 2, 1\)$"),
        ((5, 8, 2), r"got \(5, 8, 2\)$"),
        ((5, 7), r"got \(5, 7\)$"),
        ((5, 1, 8, 3), r"got \(5, 1, 8, 3\)$"),
        ((5, 2, 3), r"signals of at least 5 values, the reach of a window, got 4; use smaller"),
    ],
)
def test_signals_that_do_not_fit(shape, match):
    layer = Conv1D(3, 2, 3, dilation=2, padding=1).initialize(0)
    with pytest.raises(ValueError, match=match):
        layer.forward(np.zeros(shape, np.float32))


def test_the_short_names():
    assert str(Conv1D(1, 2, 3)) == "Conv1D(1 -> 2, 3)"
    assert repr(Conv1D(2, 2, 5, stride=2, groups=2, dilation=3, bias=False)) == (
        "Conv1D(2 -> 2, 5, stride=2, dilation=3, groups=2, bias=False)"
    )
    assert str(Conv1D(1, 2, 3, padding=1, padding_value=-1)) == (
        "Conv1D(1 -> 2, 3, padding=1, padding_value=-1.0)"
    )
    assert str(Conv1D(1, 2, 2, padding="same")) == "Conv1D(1 -> 2, 2, padding='same')"
    assert str(Conv1D(1, 2, 3, padding="same")) == "Conv1D(1 -> 2, 3, padding=1)"


def test_a_step_reads_nothing_back():
    layer = Conv1D(2, 4, 3, stride=2, padding=1, padding_value=-1, groups=2)
    layer.initialize(0).to(STRICT)
    x = STRICT.asarray(np.ones((2, 7, 2), np.float32))
    with strictdev.no_sync():
        layer.backward(layer.forward(x, train=True) * 2)
