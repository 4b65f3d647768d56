"""benchmarks/frameworks/ours.py: minibnn's forms on a GPU, on the strict stand-in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from devices import open_backend

from frameworks import ours
from harness.contestant import Data, Job
from minibnn import get_backend, load_sample


def test_a_round_on_a_gpu_is_an_epoch_of_the_rivals_batches(monkeypatch):
    """minibnn's forms on the strict stand-in, compared with its plain loop on the CPU."""
    strict = open_backend("strict")
    monkeypatch.setattr(ours, "get_backend", {"gpu": strict, "cpu": get_backend("cpu")}.get)
    monkeypatch.setattr(strict, "tf32", False, raising=False)
    monkeypatch.setattr(ours.Minibnn, "wait", lambda self: None)
    sample = load_sample()
    data = Data(*(getattr(sample, field) for field in Data._fields))
    job = Job("train", (784, 8, 10), batch=20, steps=6, by_epoch=True)
    on_gpu = replace(job, device="gpu", tf32=True)
    contestants = {form: ours.Minibnn(on_gpu, [], data, form) for form in ("plain", "captured")}
    assert strict.tf32 is True
    loop = ours.Minibnn(job, [], data, "")
    rows = ours.endless(ours.loader(job, np.arange(len(data.train_images))))
    seen = []
    monkeypatch.setattr(
        loop.loss,
        "forward",
        lambda z, labels, f=loop.loss.forward: seen.append(labels) or f(z, labels),
    )
    for _ in range(2):
        orders = np.stack([next(rows)[0] for _ in range(6)])
        losses = loop.train(orders)
        np.testing.assert_array_equal(seen, data.train_labels[orders])
        for form, contestant in contestants.items():
            found = contestant.train(orders)
            np.testing.assert_allclose(found, [losses[0], losses[-1]], rtol=1e-5, err_msg=form)
        seen.clear()
    images, labels = (contestants["plain"].put(a) for a in (data.test_images, data.test_labels))
    expected = loop.evaluate(data.test_images, data.test_labels)
    # With running statistics, one of the thousand images has a sum close to the threshold of a sign.
    np.testing.assert_allclose(contestants["plain"].evaluate(images, labels), expected, atol=2e-3)
    with pytest.raises(RuntimeError, match="expected an epoch of 4 steps, got 6"):
        contestants["plain"].train(orders[:4])

    monkeypatch.setattr(strict, "graphs", None)
    with pytest.warns(UserWarning, match="without a captured step"):  # noqa: SIM117
        with pytest.raises(RuntimeError, match="no step was captured: the strict captures nothing"):
            ours.Minibnn(on_gpu, [], data, "captured").train(orders)
