"""Cross-entropy by hand and against its reference; label smoothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loss_cases import LABELS, LOGITS, every_loss

from minibnn import (
    LogitCrossEntropy,
    one_hot,
)
from minibnn.losses.cross_entropy import cross_entropy, cross_entropy_gradient, log_softmax


def test_by_hand():
    loss = LogitCrossEntropy()
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    value = loss.forward(LOGITS, LABELS)
    assert value == pytest.approx(-(np.log(p[0, 2]) + np.log(p[1, 1])) / 2, rel=1e-12)
    np.testing.assert_allclose(loss.backward(), (p - one_hot(LABELS, 3)) / 2, rtol=1e-12)


def test_smoothing_by_hand():
    """e = 0.3 over 3 classes: 0.8 for the class, 0.1 for each other one."""
    loss = LogitCrossEntropy(label_smoothing=0.3)
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    t = np.array([[0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])
    assert loss.forward(LOGITS, LABELS) == pytest.approx(-(t * np.log(p)).sum() / 2, rel=1e-12)
    np.testing.assert_allclose(loss.backward(), (p - t) / 2, rtol=1e-12)
    assert repr(loss) == "LogitCrossEntropy(label_smoothing=0.3)"
    assert repr(LogitCrossEntropy()) == "LogitCrossEntropy()"


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_smoothing_refuses(smoothing):
    with pytest.raises(ValueError, match=r"expected label_smoothing in \[0, 1\)"):
        LogitCrossEntropy(smoothing)


@every_loss
def test_nan_shows(loss, backend):
    y = np.array([[np.nan, 0.0, 1.0]], np.float32)
    for labels in (np.array([2]), one_hot(np.array([2]), 3)):
        value = loss.forward(backend.asarray(y), backend.asarray(labels))
        assert np.isnan(backend.to_host(value))


def test_a_smoothing_that_is_a_numpy_float64_widens_nothing():
    loss = LogitCrossEntropy(np.float64(0.1))
    for labels in (LABELS, one_hot(LABELS, 3)):
        value = loss.forward(LOGITS.astype(np.float32), labels)
        assert value.dtype == loss.backward().dtype == np.float32


# Around the largest number of classes in C; one row; one class; an empty batch.
ROWS = [(1, 1), (1, 10), (100, 10), (33, 40), (7, 41), (3, 1000), (0, 10)]


def rows_in_layouts(logits):
    return logits, np.asfortranarray(logits), np.repeat(logits, 2, axis=1)[:, ::2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", ROWS)
def test_softmax_is_the_references(shape, dtype, backend, rng):
    """Equal up to a few roundings of the larger term, since exponentials differ."""
    tolerance = 3e-6 if dtype == np.float32 else 1e-14
    for laid in rows_in_layouts((rng.standard_normal(shape) * 20).astype(dtype)):
        got = backend.run(log_softmax, backend.asarray(laid))
        for a, b in zip(map(backend.to_host, got), log_softmax(laid), strict=True):
            assert (a.dtype, a.shape) == (dtype, shape)
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["integers", "probabilities"])
@pytest.mark.parametrize("shape", [s for s in ROWS if s[0]])
def test_cross_entropy_is_the_references(shape, kind, smoothing, dtype, backend, rng):
    """For the same p the gradient is equal up to a rounding, loss and p up to a few."""
    logits = (rng.standard_normal(shape) * 5).astype(dtype)
    logits[0, 0] = 100
    labels = rng.integers(0, shape[1], shape[0])
    if kind == "probabilities":
        labels = one_hot(labels, shape[1], dtype)
    tolerance = 3e-6 if dtype == np.float32 else 1e-14
    expected = cross_entropy(logits, labels, smoothing)
    slopes = cross_entropy_gradient(expected[1], labels, smoothing)
    on = backend.asarray
    for laid in rows_in_layouts(logits):
        got = backend.run(cross_entropy, on(laid), on(labels), smoothing)
        for a, b in zip(map(backend.to_host, got), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    for laid in rows_in_layouts(expected[1]):
        got = backend.run(cross_entropy_gradient, on(laid), on(labels), smoothing)
        assert got.dtype == dtype
        np.testing.assert_allclose(backend.to_host(got), slopes, rtol=3 * np.finfo(dtype).eps,
                                   atol=np.finfo(dtype).eps / shape[0])  # fmt: skip


@given(st.integers(1, 6), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_gradient_sums_to_zero_and_shift_changes_nothing(batch, classes, seed):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((batch, classes)) * 10
    labels = rng.integers(0, classes, batch)
    loss = LogitCrossEntropy()
    value = loss.forward(logits, labels)
    assert value >= 0
    np.testing.assert_allclose(loss.backward().sum(axis=1), 0, atol=1e-12)
    assert loss.forward(logits + 123.0, labels) == pytest.approx(value, abs=1e-9)
