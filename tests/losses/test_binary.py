"""The binary cross-entropy: by hand, with huge outputs, and in float32 as accurate as it can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibnn import BinaryCrossEntropy, LogitCrossEntropy, Sequential, check_gradients

Z = np.array([[0.0, 2.0], [-1.0, 0.5], [3.0, -2.0]])
T = np.array([[1, 0], [0, 1], [1, 1]])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.bool_, np.float32, np.float64])
def test_by_hand(dtype, kind, backend):
    loss, p = BinaryCrossEntropy(), sigmoid(Z)
    expected = -(T * np.log(p) + (1 - T) * np.log(1 - p)).mean()
    value = loss.forward(backend.asarray(Z.astype(dtype)), backend.asarray(T.astype(kind)))
    assert (value.dtype, value.shape) == (dtype, ())
    assert float(backend.to_host(value)) == pytest.approx(expected, rel=1e-6)
    got = backend.to_host(loss.backward())
    assert got.dtype == dtype
    np.testing.assert_allclose(got, (p - T) / 6, rtol=1e-6)


@pytest.mark.parametrize("outputs", [(5,), (5, 1)])
@pytest.mark.parametrize("targets", [(5,), (5, 1)])
def test_one_output_and_its_label_may_have_an_axis_more(outputs, targets, rng, backend):
    z, t = rng.standard_normal(5), rng.integers(0, 2, 5)
    loss = BinaryCrossEntropy()
    value = loss.forward(backend.asarray(z.reshape(outputs)), backend.asarray(t.reshape(targets)))
    gradient = backend.to_host(loss.backward())
    assert float(backend.to_host(value)) == pytest.approx(float(loss.forward(z, t)), rel=1e-12)
    assert gradient.shape == outputs
    np.testing.assert_allclose(gradient.ravel(), loss.backward(), rtol=1e-12)


def test_one_output_is_two_logits_of_which_one_is_zero(rng):
    z, t = rng.standard_normal((9, 1)) * 3, rng.integers(0, 2, 9)
    one, two = BinaryCrossEntropy(), LogitCrossEntropy()
    both = np.concatenate([np.zeros((9, 1)), z], axis=1)
    assert float(one.forward(z, t)) == pytest.approx(float(two.forward(both, t)), rel=1e-12)
    np.testing.assert_allclose(one.backward(), two.backward()[:, 1:], rtol=1e-12)


@given(st.floats(-100, 100, width=32), st.sampled_from([0.0, 1.0, 0.25]))
def test_float32_is_as_accurate_as_its_rounding(z, t):
    """Compared with long double: no small probability is lost beside 1."""
    loss, wide = BinaryCrossEntropy(), np.longdouble(z)
    value = loss.forward(np.array([[z]], np.float32), np.array([[t]], np.float32))
    slope = loss.backward()
    expected = t * np.log1p(np.exp(-wide)) + (1 - t) * np.log1p(np.exp(wide))
    up, down = 1 / (1 + np.exp(-wide)), 1 / (1 + np.exp(wide))
    gradient = (1 - t) * up - t * down
    tiny = 1e-37  # below it, float32 has fewer digits
    # For t = 1/4 the gradient is a difference of two numbers, which cannot be better than they.
    size = float(abs((1 - t) * up) + abs(t * down))
    assert float(value) == pytest.approx(float(expected), rel=4e-7, abs=tiny)
    assert slope[0, 0] == pytest.approx(float(gradient), rel=4e-7, abs=max(tiny, 2e-7 * size * (t == 0.25)))  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e3, 1e10, 1e37])
def test_huge_outputs(dtype, size, backend):
    z = backend.asarray(np.array([[size], [-size], [size], [-size]], dtype))
    loss = BinaryCrossEntropy()
    value = loss.forward(z, backend.asarray(np.array([1, 0, 0, 1])))
    assert float(backend.to_host(value)) == pytest.approx(size / 2, rel=1e-6)
    np.testing.assert_allclose(backend.to_host(loss.backward()), [[0], [0], [0.25], [-0.25]])


def test_nan_shows(backend):
    z = backend.asarray(np.array([[np.nan]], np.float32))
    value = BinaryCrossEntropy().forward(z, backend.asarray(np.array([1])))
    assert np.isnan(backend.to_host(value))


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3), (4, 2, 3)])
@pytest.mark.parametrize("soft", [False, True])
def test_gradient(shape, soft, rng):
    t = rng.random(shape) if soft else rng.integers(0, 2, shape)
    z = rng.standard_normal(shape) * 3
    loss = BinaryCrossEntropy()
    h, dz = 1e-6, np.zeros(shape)
    for i in np.ndindex(*shape):
        step = np.zeros(shape)
        step[i] = h
        dz[i] = (loss.forward(z + step, t) - loss.forward(z - step, t)) / (2 * h)
    loss.forward(z, t)
    np.testing.assert_allclose(loss.backward(), dz, rtol=1e-6, atol=1e-8)
    if len(shape) == 2:
        assert check_gradients(Sequential(), z, loss=loss, labels=t)


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        (
            (2, 1),
            [0, 2],
            r"expected labels in \[0, 1\], got 0 to 2; for labels 0 and 2 use labels == 2",
        ),
        ((2, 1), [-1, 1], r"got -1 to 1; for labels -1 and \+1 use \(labels \+ 1\) / 2"),
        ((2, 1), [1, 2], "got 1 to 2; classes are counted from 0: use labels - 1"),
        ((2, 1), [0.5, 1.5], "got 0.5 to 1.5; for numbers that are no probabilities"),
        ((2, 1), [0.5, np.nan], "expected finite targets, got nan .* first in number 1; leave"),
        ((2, 1), [[1, 0], [0, 1]], r"got \(2, 2\); if these are one-hot rows"),
        ((2, 1), [0, 1, 1], r"expected targets of shape \(2,\) or \(2, 1\), got \(3,\)$"),
        ((2, 3), [0, 1], r"expected labels of shape \(2, 3\).*use LogitCrossEntropy\(\)"),
        ((2, 3), [[0], [1]], r"expected labels of shape \(2, 3\).*use LogitCrossEntropy\(\)"),
        ((2, 3), [[0, 1], [1, 0]], r"expected targets of shape \(2, 3\), got \(2, 2\)"),
        ((0, 1), np.zeros(0), "expected at least 1 sample"),
    ],
)
def test_labels_it_refuses(shape, labels, message):
    for call in (
        lambda t: BinaryCrossEntropy().forward(np.zeros(shape), t),
        lambda t: BinaryCrossEntropy().task(np.zeros(shape), t, "who") if shape[0] == len(t) > 0
        else BinaryCrossEntropy().forward(np.zeros(shape), t),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call(np.array(labels))


def test_names_are_no_labels():
    with pytest.raises(TypeError, match=r"got <U3; names, labels = numpy.unique"):
        BinaryCrossEntropy().forward(np.zeros((2, 1)), np.array(["yes", "no"]))


def test_labels_on_another_device(device):
    with pytest.raises(TypeError, match="expected labels on the outputs' device"):
        BinaryCrossEntropy().forward(device.asarray(Z), T)


def test_a_device_does_not_look_at_values(device):
    """It would have to finish its work first."""
    z, t = (device.asarray(a) for a in (Z, T * 2.0))
    BinaryCrossEntropy().forward(z, t)
    with pytest.raises(ValueError, match=r"who, labels: expected labels in \[0, 1\]"):
        BinaryCrossEntropy().task(z, t, "who")
