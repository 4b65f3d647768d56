"""Losses beside PyTorch's: values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import LogitCrossEntropy, MeanSquaredError, one_hot

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
