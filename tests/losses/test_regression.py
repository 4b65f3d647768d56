"""The squared error and Huber's loss of numbers: by hand, gradients, shapes, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import numbers

from minibnn import Huber, MeanSquaredError, Sequential, check_gradients
from minibnn.losses import Classification, Regression

Y = np.array([[1.0, -2.0], [0.5, 4.0]])
T = np.array([[0.5, -2.0], [2.0, 1.0]])
# errors:        0.5   0.0   -1.5  3.0
#   squared      0.25  0      2.25 9      11.5 / 4
#   huber, 1     1/8   0      1    2.5    delta (|e| - delta/2) from |e| = 1 on
#   slope        0.5   0     -1    1


@pytest.mark.parametrize(
    ("loss", "value", "gradient"),
    [
        (MeanSquaredError(), 11.5 / 4, [[1, 0], [-3, 6]]),
        (Huber(), 3.625 / 4, [[0.5, 0], [-1, 1]]),
        # half the squared error, as far as delta is never reached
        (Huber(delta=5), 5.75 / 4, [[0.5, 0], [-1.5, 3]]),
        (Huber(delta=0.5), (0.125 + 0.625 + 1.375) / 4, [[0.5, 0], [-0.5, 0.5]]),
    ],
    ids=lambda v: repr(v) if hasattr(v, "forward") else "",
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_by_hand(loss, value, gradient, dtype, backend):
    got = loss.forward(backend.asarray(Y.astype(dtype)), backend.asarray(T))
    assert (got.dtype, got.shape) == (dtype, ())
    assert float(backend.to_host(got)) == pytest.approx(value, rel=1e-6)
    dy = backend.to_host(loss.backward())
    assert dy.dtype == dtype
    np.testing.assert_allclose(dy, np.array(gradient) / 4, rtol=1e-6)


@pytest.mark.parametrize("loss", [MeanSquaredError(), Huber(0.7)], ids=repr)
@pytest.mark.parametrize("outputs", [(5,), (5, 1)])
@pytest.mark.parametrize("targets", [(5,), (5, 1)])
def test_one_output_never_meets_all_targets(loss, outputs, targets, rng, backend):
    """(5, 1) - (5,) would be (5, 5)."""
    y, t = rng.standard_normal(5), rng.standard_normal(5)
    value = loss.forward(backend.asarray(y.reshape(outputs)), backend.asarray(t.reshape(targets)))
    gradient = backend.to_host(loss.backward())
    assert float(backend.to_host(value)) == pytest.approx(float(loss.forward(y, t)), rel=1e-12)
    assert gradient.shape == outputs
    np.testing.assert_allclose(gradient.ravel(), loss.backward(), rtol=1e-12)


@pytest.mark.parametrize("loss", [MeanSquaredError(), Huber(0.7)], ids=repr)
@pytest.mark.parametrize("shape", [(6, 1), (6, 4)])
def test_gradient(loss, shape, rng):
    y, t = numbers(loss, shape, rng, np.float64)
    assert check_gradients(Sequential(), y, loss=loss, labels=t)


@pytest.mark.parametrize("loss", [MeanSquaredError(), Huber(0.7)], ids=repr)
def test_targets_of_any_number_of_axes(loss, rng):
    y, t = numbers(loss, (3, 4, 2), rng, np.float64)
    value, gradient = loss.forward(y, t), loss.backward()
    assert value == pytest.approx(float(loss.forward(y.reshape(3, 8), t.reshape(3, 8))))
    np.testing.assert_array_equal(gradient.reshape(3, 8), loss.backward())


@pytest.mark.parametrize("loss", [MeanSquaredError(), Huber()], ids=repr)
def test_what_is_refused(loss):
    who, y = type(loss).__name__, np.zeros((2, 3))
    for t, error, message in (
        (np.zeros((2, 2)), ValueError, r"expected targets of shape \(2, 3\), got \(2, 2\); the la"),
        (np.zeros((3, 3)), ValueError, r"expected targets of shape \(2, 3\), got \(3, 3\)$"),
        (np.full((2, 3), "1.5"), TypeError, "expected numbers as targets, got <U3"),
        (np.zeros((2, 3), complex), TypeError, "expected numbers as targets, got complex128"),
    ):
        with pytest.raises(error, match=f"^{who}: {message}"):
            loss.forward(y, t)
        if len(t) == 2:
            with pytest.raises(error, match=f"^fit: train, targets: {message}"):
                loss.task(y, t, "fit: train")
    with pytest.raises(ValueError, match=r"expected targets of shape \(2,\) or \(2, 1\), got"):
        loss.forward(np.zeros((2, 1)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="expected at least 1 sample"):
        loss.forward(np.zeros((0, 1)), np.zeros(0))
    for bad in (np.nan, np.inf):
        t = np.array([0.0, bad, 1.0, bad])
        with pytest.raises(
            ValueError, match=r"finite targets, got nan or infinity in 2 .* number 1"
        ):
            loss.task(np.zeros((1, 1)), t)


def test_targets_on_another_device(device):
    with pytest.raises(TypeError, match="expected labels on the outputs' device"):
        Huber().forward(device.asarray(Y), T)


def test_delta():
    assert repr(Huber(delta=2)) == "Huber(delta=2.0)"
    for bad in (0, -1):
        with pytest.raises(ValueError, match="expected delta above 0"):
            Huber(delta=bad)
    with pytest.raises(ValueError, match="expected delta to be a finite number"):
        Huber(delta=float("inf"))
    value = Huber(np.float64(0.1)).forward(Y.astype(np.float32), T)
    assert value.dtype == np.float32


@pytest.mark.parametrize(
    ("outputs", "targets", "task"),
    [
        ((5, 3), np.arange(5) % 3, Classification),
        ((5, 3), np.eye(3)[np.arange(5) % 3], Classification),
        ((5, 3), np.full((5, 3), 1 / 3), Classification),
        ((5, 3), np.full((5, 3), 0.5), Regression),
        ((5, 3), np.eye(3)[np.arange(5) % 3] - 1, Regression),
        ((5, 1), np.arange(5), Regression),
        ((5, 1), np.ones((5, 1)), Regression),
        ((5,), np.zeros(5), Regression),
        ((5, 2, 3), np.full((5, 2, 3), 0.5), Regression),
        ((5, 3), None, Regression),
    ],
    ids=lambda v: "" if v is None else str(getattr(v, "shape", v)),
)
def test_the_squared_error_is_for_numbers_and_for_classes(outputs, targets, task, backend):
    given = None if targets is None else backend.asarray(targets)
    assert type(MeanSquaredError().task(backend.asarray(np.zeros(outputs)), given)) is task


def test_labels_of_the_squared_error_are_checked_as_labels():
    loss, y = MeanSquaredError(), np.zeros((4, 3))
    for labels, error, message in (
        (np.array([0, 1, 2, 3]), ValueError, r"expected labels in 0\.\.2, got 3"),
        (np.array([0.0, 1.0, 2.0, 0.0]), TypeError, "expected integer labels"),
        (np.array([[0], [1], [2], [0]]), ValueError, r"use labels\.ravel\(\)"),
    ):
        with pytest.raises(error, match=f"^MeanSquaredError: .*{message}"):
            loss.forward(y, labels)
        with pytest.raises(error, match=f"^evaluate: data, labels: .*{message}"):
            loss.task(y, labels, "evaluate: data")
