"""Optimisers beside PyTorch's, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import SGD, Adam, AdaMax, AdamW, Parameter, clip_gradients

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # for arrays this small, other threads only take the time of other tests


# The two round in different orders.
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
    "adamw": (
        lambda p: AdamW(p, 0.01, 0.8, 0.95, 1e-6, weight_decay=0.3),
        lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3),
    ),
    "adamw-defaults": (lambda p: AdamW(p), lambda p: torch.optim.AdamW(p)),
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", [0.5, 5.0, 1e3])
def test_clipping(norm, dtype, rng):
    """PyTorch adds 1e-6 to the norm before it divides; here the norm is about 25."""
    shapes = (6, 50), (5,), (3, 4, 2)
    ours = [Parameter("w", s, lambda shape, rng: np.zeros(shape)) for s in shapes]
    for p in ours:
        p.initialize(rng, dtype)
    optimizer = SGD(ours, 1.0)
    theirs = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in ours]
    for p, q in zip(ours, theirs, strict=True):
        p.grad[...] = rng.standard_normal(p.shape) * 10.0 ** rng.uniform(-1, 0.3, p.shape)
        q.grad = torch.from_numpy(p.grad.copy())
    before = clip_gradients(optimizer, norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, norm)
    np.testing.assert_allclose(float(before), float(expected), rtol=1e-6)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-6)
