"""`fit` with weights, clipping and decay beside a PyTorch loop, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import AdamW, DataLoader, Dense, LogitCrossEntropy, ReLU, Sequential, fit
from minibnn.layers import Activation

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

EPOCHS, BATCH = 3, 16
# float32: a few roundings in each of 12 steps
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-6}


def network(dtype):
    """Ours, and theirs with the same values."""
    ours = Sequential(Dense(6, 8), Activation(ReLU()), Dense(8, 3)).initialize(0, dtype)
    theirs = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).to(
        torch.float64 if dtype == np.float64 else torch.float32
    )
    with torch.no_grad():
        for mine, its in ((ours[0], theirs[0]), (ours[2], theirs[2])):
            its.weight.copy_(torch.from_numpy(mine.weight.data.T.copy()))
            its.bias.copy_(torch.from_numpy(mine.bias.data.copy()))
    return ours, theirs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("of_classes", "of_samples", "norm"),
    [(True, False, None), (False, True, None), (True, True, 0.05), (False, False, 0.05)],
)
def test_training_is_pytorchs(of_classes, of_samples, norm, dtype, rng):
    x = rng.standard_normal((64, 6)).astype(dtype)
    labels = rng.integers(0, 3, 64)
    w = rng.uniform(0, 2, 64).astype(dtype)
    table = np.array([2.0, 1.0, 0.25])
    ours, theirs = network(dtype)
    arrays = (x, labels, w) if of_samples else (x, labels)
    data = DataLoader(arrays, BATCH, shuffle=True, rng=0)
    history = fit(
        ours, data, loss=LogitCrossEntropy(), epochs=EPOCHS, evaluate_train=None,
        optimizer=AdamW(ours.parameters(), 0.01, weight_decay=0.1), clip_norm=norm,
        class_weight=dict(enumerate(table)) if of_classes else None, progress=False,
    )  # fmt: skip

    optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    each = torch.nn.CrossEntropyLoss(reduction="none")
    losses = []
    for epoch in range(EPOCHS):
        for batch in DataLoader(arrays, BATCH, shuffle=True, rng=0).batches(epoch):
            a, b = batch[:2]
            weights = np.ones(len(b), dtype)
            if of_samples:
                weights = weights * batch[2]
            if of_classes:
                weights = weights * table[b].astype(dtype)
            weights = torch.from_numpy(weights)
            loss = (weights * each(theirs(torch.from_numpy(a)), torch.from_numpy(b))).sum()
            loss = loss / weights.sum()
            if of_classes and not of_samples:  # as PyTorch does it
                own = torch.nn.CrossEntropyLoss(torch.from_numpy(table.astype(dtype)))
                assert own(theirs(torch.from_numpy(a)), torch.from_numpy(b)).item() == (
                    pytest.approx(loss.item(), rel=1e-6)
                )
            optimizer.zero_grad()
            loss.backward()
            if norm is not None:
                length = torch.nn.utils.clip_grad_norm_(theirs.parameters(), norm)
                assert length > norm, "clipped"
            optimizer.step()
            losses.append(loss.item())
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(
        history.loss, np.reshape(losses, (EPOCHS, -1)).mean(axis=1), **tolerance
    )
    for mine, its in ((ours[0], theirs[0]), (ours[2], theirs[2])):
        np.testing.assert_allclose(mine.weight.data, its.weight.detach().numpy().T, **tolerance)
        np.testing.assert_allclose(mine.bias.data, its.bias.detach().numpy(), **tolerance)
