"""Metrics by hand, for any batch size and with weights; functions; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import strictdev

from minibnn import F1, R2, Accuracy, BalancedAccuracy
from minibnn.losses import BinaryClassification, Classification, MultiLabel, Regression
from minibnn.losses.chosen_metrics import FunctionMetric, metrics_of


def value(metric, task, outputs, targets, weights=None, batch=None, backend=None):
    """A metric over batches, on a device."""
    from minibnn.backend import CPU

    backend = backend or CPU
    n = len(outputs)
    batch = batch or n
    outputs, targets, weights = (
        None if a is None else backend.asarray(np.asarray(a)) for a in (outputs, targets, weights)
    )
    sums = backend.xp.zeros(metric.size(task))
    total = 0
    with strictdev.no_sync():
        for first in range(0, n, batch):
            rows = slice(first, first + batch)
            w = None if weights is None else weights[rows]
            metric.add(sums, task, outputs[rows], targets[rows], w)
            total = total + (len(outputs[rows]) if w is None else w.sum())
        result = metric.value(sums, total)
    return float(backend.to_host(result))


def scores(predicted, classes):
    """Outputs by which these classes are predicted."""
    return np.eye(classes)[predicted]


TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2])
SAID = np.array([0, 0, 0, 1, 1, 0, 2, 2])


@pytest.mark.parametrize("batch", [None, 3, 1])
def test_balanced_accuracy_and_f1_by_hand(batch, backend):
    task, outputs = Classification(4), scores(SAID, 4)  # class 3 does not occur
    got = value(BalancedAccuracy(), task, outputs, TRUTH, batch=batch, backend=backend)
    assert got == pytest.approx((3 / 4 + 1 / 2 + 1) / 3, rel=1e-12)
    got = value(F1(), task, outputs, TRUTH, batch=batch, backend=backend)
    # 2 TP / (true + predicted)
    assert got == pytest.approx((6 / 8 + 2 / 4 + 4 / 4) / 3, rel=1e-12)


def test_of_two_classes_f1_is_that_of_class_1(backend):
    truth, said = np.array([0, 1, 1, 1, 0]), np.array([1, 1, 1, 0, 0])
    for task, outputs in (
        (Classification(2), scores(said, 2)),
        (BinaryClassification(), (said - 0.5)[:, None]),
    ):
        assert value(F1(), task, outputs, truth, backend=backend) == pytest.approx(4 / 6)
        got = value(BalancedAccuracy(), task, outputs, truth, backend=backend)
        assert got == pytest.approx((1 / 2 + 2 / 3) / 2)
    zero = value(F1(), Classification(2), scores([0, 0], 2), np.array([0, 0]))
    assert zero == 0


@pytest.mark.parametrize("metric", [Accuracy(), BalancedAccuracy(), F1()])
def test_weights_are_repetitions(metric, backend, rng):
    truth, said, w = (rng.integers(0, 3, 40) for _ in range(3))
    rows = np.repeat(np.arange(40), w)
    task = Classification(3)
    one = value(metric, task, scores(said, 3), truth, w, batch=7, backend=backend)
    assert one == pytest.approx(value(metric, task, scores(said[rows], 3), truth[rows]), rel=1e-12)


def test_r2_by_hand(backend):
    t, y = np.array([1.0, 2, 3, 6]), np.array([1.0, 2, 4, 5])
    expected = 1 - 2 / 14
    for outputs in (y, y[:, None]):
        got = value(R2(), Regression(), outputs, t, batch=3, backend=backend)
        assert got == pytest.approx(expected, rel=1e-12)
    two = np.stack([y, np.full(4, t.mean())], axis=1), np.stack([t, t], axis=1)
    assert value(R2(), Regression(2), *two, backend=backend) == pytest.approx(expected / 2)
    assert value(R2(), Regression(), t, t) == 1


def test_r2_with_weights_and_of_equal_targets(rng):
    t, y = rng.standard_normal((2, 30, 2))
    w = rng.integers(0, 4, 30)
    rows = np.repeat(np.arange(30), w)
    one = value(R2(), Regression(2), y, t, w, batch=7)
    assert one == pytest.approx(value(R2(), Regression(2), y[rows], t[rows]), rel=1e-9)
    assert value(R2(), Regression(), np.array([1.0, 2]), np.array([3.0, 3])) == -np.inf
    assert np.isnan(value(R2(), Regression(), np.array([3.0, 3]), np.array([3.0, 3])))


def test_r2_of_large_targets_sees_their_differences():
    t, y = np.array([1.0, 2, 3, 6]), np.array([1.0, 2, 4, 5])
    for offset in (1e9, -1e12):
        got = value(R2(), Regression(), y + offset, t + offset, batch=1)
        assert got == pytest.approx(1 - 2 / 14, rel=1e-12)
    same = np.full(7, 0.1)
    assert value(R2(), Regression(), same + 1, same, batch=3) == -np.inf


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", [R2(), F1(), BalancedAccuracy(), Accuracy()], ids=repr)
def test_sums_over_some_samples_are_merged_with_those_over_others(metric, weighted, rng):
    """As several ranks compute them. Some weigh nothing."""
    if metric.kind == "numbers":
        task, targets = Regression(2), rng.standard_normal((60, 2)) * 3 + 50
        outputs = targets + rng.standard_normal((60, 2))
    else:
        task, targets = Classification(3), rng.integers(0, 3, 60)
        outputs = rng.standard_normal((60, 3))
    w = rng.random(60) if weighted else None
    if weighted:
        w[:10] = 0
    sums, total = np.zeros(metric.size(task)), 0.0
    for rows in (slice(0, 10), slice(10, 11), slice(11, 60)):
        own, its = np.zeros(metric.size(task)), None if w is None else w[rows]
        metric.add(own, task, outputs[rows], targets[rows], its)
        metric.merge(sums, own)
        total += len(targets[rows]) if w is None else w[rows].sum()
    whole = value(metric, task, outputs, targets, w)
    assert float(metric.value(sums, total)) == pytest.approx(whole, rel=1e-10)
    assert 0 < whole < 1


def test_r2_needs_to_know_the_outputs():
    with pytest.raises(ValueError, match=r"got 3; let the method task .* return Regression\(3\)"):
        value(R2(), Regression(), np.zeros((4, 3)), np.zeros((4, 3)))


def distance(predictions, targets):
    return abs(predictions - targets)


def test_a_function_is_averaged_over_the_samples(backend):
    task, outputs = Classification(4), scores(SAID, 4)
    metric = FunctionMetric(distance)
    assert (metric.name, metric.column, repr(metric)) == (
        *["distance"] * 2,
        "FunctionMetric(distance)",
    )
    got = value(metric, task, outputs, TRUTH, batch=3, backend=backend)
    assert got == abs(SAID - TRUTH).mean()
    w = np.arange(8)
    got = value(metric, task, outputs, TRUTH, w, batch=3, backend=backend)
    assert got == (w * abs(SAID - TRUTH)).sum() / w.sum()


def test_a_function_that_averages_itself_is_refused():
    def mean_distance(predictions, targets):
        return abs(predictions - targets).mean()

    with pytest.raises(ValueError, match=r"of shape \(8,\), got float64 \(\); leave out the mean"):
        value(FunctionMetric(mean_distance), Classification(4), scores(SAID, 4), TRUTH)


def test_the_tasks_own_metrics_are_the_default():
    assert metrics_of(None, Classification(3), "fit") == Classification.metrics
    assert metrics_of([], Classification(3), "fit") == ()
    one, other = metrics_of([F1(), distance], Classification(3), "fit")
    assert (type(one), type(other)) == (F1, FunctionMetric)


@pytest.mark.parametrize(
    ("asked", "task", "message"),
    [
        (F1(), Classification(3), r"metrics to be a list, got F1\(\); write metrics=\["),
        ([F1], Classification(3), r"got the class F1; write metrics=\[F1\(\)\]"),
        (["f1"], Classification(3), r"got 'f1'; write metrics=\[Accuracy\(\)\]"),
        ([lambda p, t: p], Classification(3), "for their columns, got a lambda; write it as a"),
        ([F1(), F1()], Classification(3), r"different names, .* got \['f1', 'f1'\]"),
        ([F1()], Regression(), r"expected a loss for classes with F1\(\), got one for numbers"),
        ([R2()], Classification(3), r"numbers with R2\(\), got one for classes; use Accuracy\(\)"),
        ([BalancedAccuracy()], MultiLabel(), "got one for several labels; use LabelAccuracy"),
    ],
)
def test_refused(asked, task, message):
    with pytest.raises((TypeError, ValueError), match=message):
        metrics_of(asked, task, "fit")
