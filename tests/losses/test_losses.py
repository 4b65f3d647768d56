"""Losses: values, stability, gradients, labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibnn import (
    Hinge,
    LogitCrossEntropy,
    MeanSquaredError,
    Sequential,
    SquaredHinge,
    check_gradients,
    one_cold,
    one_hot,
)
from minibnn.backend import CPU
from minibnn.losses import TargetLoss
from minibnn.losses.cross_entropy import cross_entropy, cross_entropy_gradient, log_softmax
from minibnn.training.accuracy import count_correct

LOGITS = np.array([[1.0, 2.0, 3.0], [0.5, -0.5, 0.0]])
LABELS = np.array([2, 1])
LOSSES = [
    LogitCrossEntropy(),
    LogitCrossEntropy(label_smoothing=0.3),
    Hinge(),
    SquaredHinge(),
    MeanSquaredError(),
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)


def test_by_hand():
    loss = LogitCrossEntropy()
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    value = loss.forward(LOGITS, LABELS)
    assert value == pytest.approx(-(np.log(p[0, 2]) + np.log(p[1, 1])) / 2, rel=1e-12)
    np.testing.assert_allclose(loss.backward(), (p - one_hot(LABELS, 3)) / 2, rtol=1e-12)


# The table behind the next test: labels 2 and 1, so t is -1 -1 +1 and -1 +1 -1.
#   y       1     2     3  |  0.5  -0.5   0
#   t y    -1    -2     3  | -0.5  -0.5   0
#   1-t y   2     3    -2  |  1.5   1.5   1    positive part: 2 3 0, 1.5 1.5 1
#   y - p   1     2     2  |  0.5  -1.5   0
@pytest.mark.parametrize(
    ("loss", "total", "gradient"),
    [
        (Hinge(), 9.0, [[1, 1, 0], [1, -1, 1]]),
        # 4 + 9 + 2.25 + 2.25 + 1
        (SquaredHinge(), 18.5, [[4, 6, 0], [3, -3, 2]]),
        # 1 + 4 + 4 + 0.25 + 2.25
        (MeanSquaredError(), 11.5, [[2, 4, 4], [1, -3, 0]]),
    ],
    ids=lambda v: repr(v) if hasattr(v, "forward") else "",
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_margins_by_hand(loss, total, gradient, dtype, backend):
    value = loss.forward(backend.asarray(LOGITS.astype(dtype)), backend.asarray(LABELS))
    assert (value.dtype, value.shape) == (dtype, ())
    assert float(backend.to_host(value)) == pytest.approx(total / 6, rel=1e-6)
    got = backend.to_host(loss.backward())
    np.testing.assert_allclose(got, np.array(gradient) / 6, rtol=1e-6)
    assert got.dtype == dtype


def test_targets_of_probabilities_by_hand():
    y, p = np.array([[1.0, 3.0]]), np.array([[0.25, 0.75]])
    # t = 2 p - 1: -0.5, 0.5; t y: -0.5, 1.5; the margin is missed by 1.5, and not
    for loss, value, slope in ((Hinge(), 1.5, 0.5), (SquaredHinge(), 2.25, 1.5)):
        assert float(loss.forward(y, p)) == value / 2
        np.testing.assert_array_equal(loss.backward(), [[slope / 2, 0]])
    mse = MeanSquaredError()
    assert float(mse.forward(y, p)) == (0.75**2 + 2.25**2) / 2
    np.testing.assert_array_equal(mse.backward(), [[0.75, 2.25]])


def test_hinge_at_the_edge_has_no_slope():
    for loss in (Hinge(), SquaredHinge()):
        assert loss.forward(np.array([[1.0, -1.0]]), np.array([0])) == 0
        np.testing.assert_array_equal(loss.backward(), [[0, 0]])


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


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_and_one_hot_agree(loss, dtype, backend, rng):
    logits = rng.standard_normal((20, 7)).astype(dtype) * 5
    labels = rng.integers(0, 7, 20)
    results = []
    kinds = (dtype, np.float32, np.float64, np.uint8, np.int64, np.bool_)
    for target in (labels, labels.astype(np.uint8), *(one_hot(labels, 7, k) for k in kinds)):
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


# Beside the most classes that C takes, one row, one class, none.
ROWS = [(1, 1), (1, 10), (100, 10), (33, 40), (7, 41), (3, 1000), (0, 10)]


def rows_in_layouts(logits):
    return logits, np.asfortranarray(logits), np.repeat(logits, 2, axis=1)[:, ::2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", ROWS)
def test_softmax_is_the_references(shape, dtype, backend, rng):
    """To a few roundings of the larger term: exponentials differ."""
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
    """The gradient of the same p to a rounding, the loss and p to a few."""
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


class LogCosh(TargetLoss):
    """What a user writes: the loss of each output, and its slope."""

    def each(self, y, p):
        return np.log(np.cosh(y - p)), np.tanh(y - p)


def test_a_loss_of_each_output_is_two_lines(rng):
    labels = rng.integers(0, 4, 6)
    report = check_gradients(
        Sequential(), rng.standard_normal((6, 4)), loss=LogCosh(), labels=labels
    )
    assert report, str(report)
    value = LogCosh().forward(np.zeros((1, 2)), np.array([1]))
    assert value == pytest.approx(np.log(np.cosh(1)) / 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(64, 10), (3000, 10), (500, 100)])
def test_large_batches_on_devices(shape, smoothing, device, rng):
    logits = 5 * rng.standard_normal(shape)
    labels = rng.integers(0, shape[1], shape[0], np.uint8)
    results = []
    for backend in (CPU, device):
        loss = LogitCrossEntropy(smoothing)
        given = backend.asarray(logits), backend.asarray(labels)
        value = loss.forward(*given)
        arrays = value, loss.backward(), backend.run(count_correct, *given)
        results.append([*map(backend.to_host, arrays)])
    for got, expected in zip(*results[::-1], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


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


@every_loss
@pytest.mark.parametrize("kind", ["integers", "one-hot", "probabilities", "rounded"])
def test_gradient(kind, loss, rng):
    labels = rng.integers(0, 4, 6)
    if kind == "one-hot":
        labels = one_hot(labels, 4, np.float64)
    elif kind == "probabilities":
        labels = rng.dirichlet(np.ones(4), 6)
    elif kind == "rounded":  # rows that sum to 1 only nearly still have their own exact gradient
        labels = rng.dirichlet(np.ones(4), 6) * 1.0009
    report = check_gradients(Sequential(), rng.standard_normal((6, 4)), loss=loss, labels=labels)
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
@every_loss
def test_bad_labels(loss, labels, error, message):
    with pytest.raises(error, match=f"{type(loss).__name__}: {message}"):
        loss.forward(LOGITS, np.array(labels))


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


@every_loss
def test_labels_on_another_device(loss, device):
    with pytest.raises(TypeError, match="expected labels on the logits' device"):
        loss.forward(device.asarray(LOGITS), LABELS)


@every_loss
def test_backward_needs_forward(loss):
    loss.saved = None
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        loss.backward()
    loss.forward(LOGITS, LABELS)
    loss.backward()
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        loss.backward()


@pytest.mark.parametrize("labels", [[0, 3], [3, 0], [0, -1], [2, 200]])
def test_one_label_outside_is_enough_for_one_hot_to_refuse(labels):
    with pytest.raises(ValueError, match=r"one_hot: expected labels in 0..2"):
        one_hot(np.array(labels), 3)


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
