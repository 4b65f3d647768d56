"""Losses beside PyTorch's: values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import BinaryCrossEntropy, Huber, LogitCrossEntropy, MeanSquaredError, one_hot

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # for arrays this small, other threads only take the time of other tests


# The two round in different orders.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


def cross_entropy(smoothing):
    return lambda y, labels: torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(y, labels)


def squared_error(y, labels):
    if labels.ndim == 1:
        labels = torch.nn.functional.one_hot(labels, y.shape[1]).to(y.dtype)
    return torch.nn.MSELoss()(y, labels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["integers", "one-hot", "probabilities"])
@pytest.mark.parametrize(
    ("loss", "rival"),
    [
        (LogitCrossEntropy(), cross_entropy(0.0)),
        (LogitCrossEntropy(label_smoothing=0.1), cross_entropy(0.1)),
        (LogitCrossEntropy(label_smoothing=0.7), cross_entropy(0.7)),
        (MeanSquaredError(), squared_error),
    ],
    ids=lambda v: repr(v) if hasattr(v, "backward") else "",
)
def test_losses(loss, rival, kind, dtype, rng):
    y = (rng.standard_normal((9, 7)) * 4).astype(dtype)
    labels = rng.integers(0, 7, 9)
    if kind == "one-hot":
        labels = one_hot(labels, 7, dtype)
    elif kind == "probabilities":
        labels = rng.dirichlet(np.ones(7), 9).astype(dtype)
    leaf = torch.from_numpy(y.copy()).requires_grad_()
    value = rival(leaf, torch.from_numpy(labels))
    value.backward()
    rtol = TOLERANCE[dtype]
    np.testing.assert_allclose(loss.forward(y, labels), value.detach().numpy(), rtol=rtol)
    np.testing.assert_allclose(loss.backward(), leaf.grad.numpy(), rtol=rtol, atol=rtol / 10)


VALUES = [
    (BinaryCrossEntropy(), torch.nn.functional.binary_cross_entropy_with_logits),
    (MeanSquaredError(), torch.nn.functional.mse_loss),
    (Huber(), torch.nn.functional.huber_loss),
    (Huber(delta=0.3), lambda *a, **options: torch.nn.functional.huber_loss(*a, delta=0.3, **options)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(9, 1), (9, 7), (9,)])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize(("loss", "rival"), VALUES, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_losses_of_values(loss, rival, shape, weights, dtype, rng):
    """To 1e-6, with and without weights; PyTorch's own weights are divided by another number."""
    y = (rng.standard_normal(shape) * 4).astype(dtype)
    t = rng.random(shape) if isinstance(loss, BinaryCrossEntropy) else rng.standard_normal(shape)
    t, w = t.astype(dtype), rng.random(9).astype(dtype)
    leaf = torch.from_numpy(y.copy()).requires_grad_()
    if weights:
        each = rival(leaf, torch.from_numpy(t), reduction="none").reshape(9, -1).mean(dim=1)
        value = (torch.from_numpy(w) * each).sum() / w.sum()
    else:
        value = rival(leaf, torch.from_numpy(t))
    value.backward()
    got = loss.forward(y, t, w if weights else None)
    np.testing.assert_allclose(got, value.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(loss.backward(), leaf.grad.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_of_the_cross_entropy(smoothing, rng):
    """PyTorch's weighted mean is ours, with each class's weight as the weight of its samples."""
    y, labels = (rng.standard_normal((9, 7)) * 4).astype(np.float32), rng.integers(0, 7, 9)
    classes = rng.random(7).astype(np.float32) + 0.1
    leaf = torch.from_numpy(y.copy()).requires_grad_()
    each = torch.nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")
    rival = torch.nn.CrossEntropyLoss(torch.from_numpy(classes))
    w = torch.from_numpy(classes[labels])
    target = torch.from_numpy(labels)
    value = rival(leaf, target) if not smoothing else (w * each(leaf, target)).sum() / w.sum()
    value.backward()
    loss = LogitCrossEntropy(smoothing)
    np.testing.assert_allclose(
        loss.forward(y, labels, classes[labels]), value.detach().numpy(), rtol=1e-6
    )
    np.testing.assert_allclose(loss.backward(), leaf.grad.numpy(), rtol=1e-6, atol=1e-7)
