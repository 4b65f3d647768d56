"""Losses and optimisers against PyTorch's, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import SGD, Adam, AdaMax, LogitCrossEntropy, MeanSquaredError, Parameter, one_hot

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

# The two round in another order.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}

OPTIMIZERS = {
    "sgd": (lambda p: SGD(p, 0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
    "momentum": (
        lambda p: SGD(p, 0.05, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    ),
    "adam": (
        lambda p: Adam(p, 0.01, 0.8, 0.95, 1e-6),
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6),
    ),
    "adam-defaults": (lambda p: Adam(p), lambda p: torch.optim.Adam(p)),
    "adamax": (
        lambda p: AdaMax(p, 0.01, 0.8, 0.95, 1e-3),
        lambda p: torch.optim.Adamax(p, lr=0.01, betas=(0.8, 0.95), eps=1e-3),
    ),
    "adamax-defaults": (lambda p: AdaMax(p), lambda p: torch.optim.Adamax(p)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps(name, dtype, rng):
    make, make_theirs = OPTIMIZERS[name]
    ours = []
    for shape in ((6, 5), (5,)):
        p = Parameter("w", shape, lambda shape, rng: rng.standard_normal(shape))
        p.initialize(rng, dtype)
        ours.append(p)
    theirs = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in ours]
    optimizer, rival = make(ours), make_theirs(theirs)
    start = [p.data.copy() for p in ours]
    for _ in range(20):
        for p, q in zip(ours, theirs, strict=True):
            # of very different sizes, from step to step too
            g = rng.standard_normal(p.shape) * 10.0 ** rng.uniform(-3, 1, p.shape)
            p.grad[...] = g
            q.grad = torch.from_numpy(g.astype(dtype))
        optimizer.step()
        rival.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(
                p.data, q.detach().numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
            )
    assert all((p.data != before).all() for p, before in zip(ours, start, strict=True))


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
