"""Cross-entropy: values, stability, gradients, labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibnn import LogitCrossEntropy, Sequential, check_gradients, one_cold, one_hot

LOGITS = np.array([[1.0, 2.0, 3.0], [0.5, -0.5, 0.0]])
LABELS = np.array([2, 1])


def test_by_hand():
    loss = LogitCrossEntropy()
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    value = loss.forward(LOGITS, LABELS)
    assert value == pytest.approx(-(np.log(p[0, 2]) + np.log(p[1, 1])) / 2, rel=1e-12)
    np.testing.assert_allclose(loss.backward(), (p - one_hot(LABELS, 3)) / 2, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_and_one_hot_agree(dtype, backend, rng):
    logits = rng.standard_normal((20, 7)).astype(dtype) * 5
    labels = rng.integers(0, 7, 20)
    results = []
    kinds = (dtype, np.float32, np.float64, np.uint8, np.int64, np.bool_)
    for target in (labels, labels.astype(np.uint8), *(one_hot(labels, 7, k) for k in kinds)):
        loss = LogitCrossEntropy()
        value = loss.forward(backend.asarray(logits), backend.asarray(target))
        assert value.shape == ()
        results.append((backend.to_host(value), backend.to_host(loss.backward())))
    for value, gradient in results:
        assert value.dtype == gradient.dtype == dtype
        np.testing.assert_allclose(value, results[0][0], rtol=1e-6)
        np.testing.assert_allclose(gradient, results[0][1], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e3, 1e10, 1e37])
def test_huge_logits(dtype, size, backend):
    logits = np.array([[size, 0, -size], [-size, size, 0]], dtype)
    for labels in (np.array([0, 0]), one_hot(np.array([0, 0]), 3, dtype)):
        loss = LogitCrossEntropy()
        value = loss.forward(backend.asarray(logits), backend.asarray(labels))
        assert float(backend.to_host(value)) == pytest.approx(size, rel=1e-6)
        gradient = backend.to_host(loss.backward())
        np.testing.assert_allclose(gradient, [[0, 0, 0], [-0.5, 0.5, 0]], atol=1e-6)


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_gradient_sums_to_zero_and_shift_changes_nothing(batch, classes, seed):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((batch, classes)) * 10
    labels = rng.integers(0, classes, batch)
    loss = LogitCrossEntropy()
    value = loss.forward(logits, labels)
    assert value >= 0
    np.testing.assert_allclose(loss.backward().sum(axis=1), 0, atol=1e-12)
    assert loss.forward(logits + 123.0, labels) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("kind", ["integers", "one-hot", "probabilities", "rounded"])
def test_gradient(kind, rng):
    labels = rng.integers(0, 4, 6)
    if kind == "one-hot":
        labels = one_hot(labels, 4, np.float64)
    elif kind == "probabilities":
        labels = rng.dirichlet(np.ones(4), 6)
    elif kind == "rounded":  # rows that sum to 1 only nearly still have their own exact gradient
        labels = rng.dirichlet(np.ones(4), 6) * 1.0009
    report = check_gradients(
        Sequential(), rng.standard_normal((6, 4)), loss=LogitCrossEntropy(), labels=labels
    )
    assert report, str(report)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 3], ValueError, r"expected labels in 0\.\.2, got 3"),
        ([0, -1], ValueError, r"expected labels in 0\.\.2, got -1"),
        ([0, 1, 2], ValueError, r"expected labels of shape \(2,\) or \(2, 3\), got \(3,\)"),
        ([0.0, 1.0], TypeError, "expected integer labels"),
        ([[0.5, 0.5, 0.5], [1, 0, 0]], ValueError, "expected rows of probabilities"),
        ([[0.5, 0.55, 0], [1, 0, 0]], ValueError, "expected rows of probabilities"),
        (
            [[0], [1]],
            ValueError,
            r"expected labels of shape \(batch,\), got \(2, 1\); use labels.ravel",
        ),
        ([[1.5, -0.5, 0], [1, 0, 0]], ValueError, "expected rows of probabilities"),
    ],
)
def test_bad_labels(labels, error, message):
    with pytest.raises(error, match=message):
        LogitCrossEntropy().forward(LOGITS, np.array(labels))


def test_bad_logits():
    with pytest.raises(
        ValueError, match=r"expected logits of shape \(batch, classes\), got \(3,\)"
    ):
        LogitCrossEntropy().forward(LOGITS[0], LABELS)


def test_empty_batch():
    with pytest.raises(
        ValueError, match=r"expected logits of shape \(batch, classes\), got \(0, 3\)"
    ):
        LogitCrossEntropy().forward(LOGITS[:0], LABELS[:0])


def test_labels_on_another_device(device):
    with pytest.raises(TypeError, match="expected labels on the logits' device"):
        LogitCrossEntropy().forward(device.asarray(LOGITS), LABELS)


def test_backward_needs_forward():
    loss = LogitCrossEntropy()
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        loss.backward()
    loss.forward(LOGITS, LABELS)
    loss.backward()
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        loss.backward()


@given(st.lists(st.integers(0, 8), min_size=1, max_size=30))
def test_one_cold_undoes_one_hot(labels):
    hot = one_hot(np.array(labels), 9)
    assert hot.sum() == len(labels)
    assert one_cold(hot).tolist() == labels


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([3], ValueError, r"labels in 0\.\.2"),
        ([-1], ValueError, r"labels in 0\.\.2"),
        ([[1]], ValueError, r"of shape \(batch,\)"),
        ([1.0], TypeError, "expected integer labels"),
    ],
)
def test_one_hot_refuses(labels, error, message):
    with pytest.raises(error, match=message):
        one_hot(np.array(labels), 3)


def test_one_cold_takes_the_first_of_equals_and_refuses_vectors(backend):
    assert backend.to_host(one_cold(backend.asarray([[1.0, 2.0, 2.0]]))).tolist() == [1]
    with pytest.raises(ValueError, match="expected scores of shape"):
        one_cold(backend.asarray([1.0, 2.0]))
