"""What all losses have in common: gradients, labels of both kinds, huge logits, large batches."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import every_loss

from minibnn import (
    LogitCrossEntropy,
    Sequential,
    check_gradients,
    one_hot,
)
from minibnn.backend import CPU
from minibnn.losses.accuracy import count_correct


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


@every_loss
@pytest.mark.parametrize("kind", ["integers", "one-hot", "probabilities", "rounded"])
def test_gradient(kind, loss, rng):
    labels = rng.integers(0, 4, 6)
    if kind == "one-hot":
        labels = one_hot(labels, 4, np.float64)
    elif kind == "probabilities":
        labels = rng.dirichlet(np.ones(4), 6)
    elif kind == "rounded":  # rows whose sum is only close to 1 still have an exact gradient
        labels = rng.dirichlet(np.ones(4), 6) * 1.0009
    report = check_gradients(Sequential(), rng.standard_normal((6, 4)), loss=loss, labels=labels)
    assert report, str(report)
