"""Weights of samples: a weight of 2 is the sample twice, a weight of 0 its absence."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import LOSSES, VALUE_LOSSES, OwnLoss, Weighted, numbers

from minibnn import Sequential, check_gradients
from minibnn.losses.weights import check_weights, require_weights, total_weight, weighted

EVERY = [*LOSSES, *VALUE_LOSSES]
every_loss = pytest.mark.parametrize("loss", EVERY, ids=repr)


def batch(loss, rng, dtype, samples=6):
    if loss in LOSSES:
        return (rng.standard_normal((samples, 4)) * 3).astype(dtype), rng.integers(0, 4, samples)
    return numbers(loss, (samples, 2), rng, dtype)


def run(loss, backend, *arrays):
    value = loss.weighted_forward(*(None if a is None else backend.asarray(a) for a in arrays))
    return backend.to_host(value), backend.to_host(loss.backward())


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_weight_of_two_is_the_sample_twice_and_of_zero_its_absence(loss, dtype, backend, rng):
    y, t = batch(loss, rng, dtype)
    w = np.array([2, 0, 1, 3, 0, 1])
    one = run(loss, backend, *(np.repeat(a, w, axis=0) for a in (y, t)), None)
    rtol = 20 * np.finfo(dtype).eps
    for kind in (dtype, np.int64, np.float64):
        value, gradient = run(loss, backend, y, t, w.astype(kind))
        assert value.dtype == gradient.dtype == dtype
        np.testing.assert_allclose(value, one[0], rtol=rtol)
        starts = np.cumsum(w) - w
        for n, times in enumerate(w):
            parts = one[1][starts[n] : starts[n] + times].sum(axis=0)
            np.testing.assert_allclose(gradient[n], parts, rtol=rtol, atol=rtol / 10)
            if times in (1, 2):  # the steps are the same, and doubling is exact
                np.testing.assert_array_equal(gradient[n], times * one[1][starts[n]])
            if times == 0:
                np.testing.assert_array_equal(gradient[n], 0)


@every_loss
def test_equal_weights_change_nothing_whatever_they_are(loss, backend, rng):
    y, t = batch(loss, rng, np.float64)
    expected = run(loss, backend, y, t, None)
    for size in (1.0, 0.25, 3.0):
        for got, without in zip(run(loss, backend, y, t, np.full(6, size)), expected, strict=True):
            np.testing.assert_allclose(got, without, rtol=1e-13, atol=1e-16)


@every_loss
def test_a_batch_without_any_weight_gives_nothing(loss, backend, rng):
    y, t = batch(loss, rng, np.float32)
    value, gradient = run(loss, backend, y, t, np.zeros(6))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(y))


@every_loss
def test_gradient_of_a_weighted_mean(loss, rng):
    y, t = batch(loss, rng, np.float64)
    w = rng.random(6) * 3
    assert check_gradients(Sequential(), y, loss=Weighted(loss, w), labels=t)


@every_loss
def test_one_output_without_an_axis_of_its_own(loss, rng):
    if loss in LOSSES:
        return
    y, t = numbers(loss, (5,), rng, np.float64)
    w = np.array([1.0, 0, 2, 4, 0.5])
    value = loss.forward(y, t, w)
    gradient = loss.backward()
    assert value == pytest.approx(float(loss.forward(y[:, None], t, w)), rel=1e-14)
    np.testing.assert_array_equal(gradient[:, None], loss.backward())


@every_loss
def test_weights_that_are_refused(loss, rng, device):
    y, t = batch(loss, rng, np.float32)
    for w, error, message in (
        (np.ones(5), ValueError, r"expected weights of shape \(6,\), got \(5,\)$"),
        (np.ones((6, 1)), ValueError, r"got \(6, 1\); use weights.ravel\(\)"),
        (np.full(6, "1"), TypeError, "expected numbers as weights, got <U1"),
        (np.array([1.0, 1, -1, 1, 1, 1]), ValueError, "weights of at least 0, got -1.0 to 1.0"),
        (np.array([1.0, 1, np.nan, 1, 1, 1]), ValueError, "expected finite weights"),
        (np.array([1.0, 1, np.inf, 1, 1, 1]), ValueError, "expected finite weights"),
        (device.asarray(np.ones(6)), TypeError, "expected weights on the outputs' device"),
    ):
        with pytest.raises(error, match=f"{type(loss).__name__}: .*{message}"):
            loss.forward(y, t, w)


def test_a_device_does_not_look_at_values(device):
    w = device.asarray(np.array([-1.0, 1.0]))
    assert require_weights("who", w, device.asarray(np.zeros((2, 1), np.float32))).dtype == "f4"
    with pytest.raises(ValueError, match="who: expected finite weights of at least 0"):
        check_weights("who", w, 2, look=True)


def test_sums_by_hand(backend):
    w = backend.asarray(np.array([2.0, 0, 1], np.float32))
    assert float(backend.to_host(total_weight(w))) == 3
    assert float(backend.to_host(total_weight(w * 0))) == 1
    values = backend.asarray(np.arange(6, dtype=np.float32).reshape(3, 2))
    got = backend.to_host(weighted(values, w))
    np.testing.assert_array_equal(got, [[0, 2], [0, 0], [4, 5]])


def test_a_users_loss_without_weights_says_what_to_write():
    y, t = np.ones((2, 1)), np.zeros(2)
    own = OwnLoss()
    assert not own.takes_weights
    assert all(loss.takes_weights for loss in EVERY)
    assert own.weighted_forward(y, t, None) == own.forward(y, t)
    with pytest.raises(TypeError, match=r"OwnLoss: .*write forward\(self, outputs, targets, weigh"):
        own.weighted_forward(y, t, np.ones(2))
