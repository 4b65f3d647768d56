"""The metrics, by hand and against other ways to compute them; with weights."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.losses import BinaryClassification, Classification, MultiLabel, Regression
from minibnn.losses.metrics import Accuracy, LabelAccuracy, MeanAbsoluteError

CASES = {
    "classes": (Accuracy(), Classification(3), (7, 3), lambda rng: rng.integers(0, 3, 7)),
    "binary": (Accuracy(), BinaryClassification(), (7, 1), lambda rng: rng.integers(0, 2, 7)),
    "labels": (LabelAccuracy(), MultiLabel(), (7, 4), lambda rng: rng.integers(0, 2, (7, 4))),
    "number": (MeanAbsoluteError(), Regression(), (7, 1), lambda rng: rng.standard_normal(7)),
    "numbers": (MeanAbsoluteError(), Regression(), (7, 2), lambda rng: rng.standard_normal((7, 2))),
}
every_case = pytest.mark.parametrize("case", CASES)


def of_one_sample(case, y, t):
    """The metric of a single sample, without sums."""
    if case == "classes":
        return float(y.argmax() == t)
    if case in ("binary", "labels"):
        return ((y >= 0) == (t == 1)).mean()
    return abs(y.astype(np.float64) - t).mean()


def metric_of(metric, task, backend, batches, weight):
    sums = backend.xp.zeros(metric.size(task), dtype=np.float64)
    for y, t, w in batches:
        given = [None if a is None else backend.asarray(a) for a in (y, t, w)]
        metric.add(sums, task, *given)
    value = metric.value(sums, weight)
    assert value.shape == ()
    return float(backend.to_host(value))


@every_case
@pytest.mark.parametrize("sizes", [[7], [3, 4], [1] * 7])
def test_a_mean_over_samples_for_any_batch_size(case, sizes, backend, rng):
    metric, task, shape, targets = CASES[case]
    y, t = rng.standard_normal(shape).astype(np.float32), targets(rng)
    ends = np.cumsum(sizes)[:-1]
    batches = [(*pair, None) for pair in zip(np.split(y, ends), np.split(t, ends), strict=True)]
    expected = np.mean([of_one_sample(case, *pair) for pair in zip(y, t, strict=True)])
    got = metric_of(metric, task, backend, batches, len(y))
    assert got == pytest.approx(expected, rel=1e-12)
    if case not in ("number", "numbers"):
        assert got == metric_of(metric, task, backend, [(y, t, None)], len(y)), "exactly"


@every_case
def test_a_weight_counts_a_sample_so_often(case, backend, rng):
    metric, task, shape, targets = CASES[case]
    y, t = rng.standard_normal(shape).astype(np.float32), targets(rng)
    w = np.array([2, 0, 1, 3, 0, 1, 2])
    times = [np.repeat(a, w, axis=0) for a in (y, t)]
    expected = metric_of(metric, task, backend, [(*times, None)], 9)
    for dtype in (np.float32, np.int64):
        batches = [(y[:3], t[:3], w[:3].astype(dtype)), (y[3:], t[3:], w[3:].astype(dtype))]
        got = metric_of(metric, task, backend, batches, 9)
        assert got == pytest.approx(expected, rel=1e-12)


def test_nothing_waits_for_the_device(rng):
    import strictdev
    from devices import STRICT

    for metric, task, shape, targets in CASES.values():
        y, t = rng.standard_normal(shape).astype(np.float32), targets(rng)
        y, t, w = (STRICT.asarray(a) for a in (y, t, np.ones(7)))
        sums = STRICT.xp.zeros(metric.size(task), dtype=np.float64)
        with strictdev.no_sync():
            metric.add(sums, task, y, t, None)
            metric.add(sums, task, y, t, w)
            metric.value(sums, 14)
