"""Weights of classes: balanced ones by hand, mappings, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import strictdev

from minibnn.backend import CPU
from minibnn.losses import BinaryClassification, Classification, MultiLabel, Regression
from minibnn.training.class_weights import ClassWeights, class_weights

LABELS = np.array([0, 0, 0, 2, 2, 2, 2, 1])


def table(given, task=None, labels=LABELS):
    return class_weights(given, task or Classification(4), labels, CPU).table.tolist()


def test_balanced_classes_weigh_the_same():
    w = table("balanced")
    assert w[:3] == pytest.approx([8 / 9, 8 / 3, 8 / 12])
    assert (np.array(w[:3]) * [3, 1, 4]).tolist() == pytest.approx([8 / 3] * 3)
    assert np.isfinite(w[3]), "a class that does not occur"
    assert table("balanced", labels=np.eye(4)[LABELS]) == w
    ones = np.array([[1.0], [0.0], [1.0], [1.0]])
    assert table("balanced", BinaryClassification(), ones) == pytest.approx([2, 2 / 3])


def test_balanced_classes_count_samples_by_their_weights(backend):
    own = np.array([2, 0, 1, 3, 1, 0, 2, 0])  # none for the only sample of class 1
    task, arrays = Classification(4), [backend.asarray(a) for a in (LABELS, own)]
    got = class_weights("balanced", task, arrays[0], backend, arrays[1])
    repeated = table("balanced", labels=np.repeat(LABELS, own))
    assert backend.to_host(got.table).tolist() == repeated
    small = class_weights("balanced", task, LABELS, CPU, own / 64)
    assert small.table[[0, 2]].tolist() == [repeated[0], repeated[2]]
    with pytest.raises(ValueError, match="above 0 for some sample"):
        class_weights({0: 0, 2: 0}, task, LABELS, CPU, own)


def test_a_mapping_leaves_the_others_at_one():
    assert table({2: 0.5, np.int64(0): np.float32(3)}) == [3, 1, 0.5, 1]
    assert table({1: 0}) == [1, 0, 1, 1]
    assert class_weights(None, Classification(3), LABELS, CPU) is None


@pytest.mark.parametrize("form", ["labels", "rows", "own weights"])
def test_each_sample_gets_the_weight_of_its_class(form, backend):
    weigh = ClassWeights(Classification(3), backend.asarray(np.array([2.0, 1.0, 0.25])))
    labels = np.array([0, 2, 1, 0])
    own = np.array([1, 2, 0, 0.5]) if form == "own weights" else None
    targets = np.eye(3)[labels] if form == "rows" else labels
    given = [None if a is None else backend.asarray(a) for a in (targets, own)]
    with strictdev.no_sync():
        got = weigh.times(*given)
    expected = np.array([2, 0.25, 1, 2]) * (1 if own is None else own)
    assert backend.to_host(got).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("given", "task", "labels", "message"),
    [
        ("equal", Classification(4), LABELS, r"'balanced' or weights by class, got 'equal'; write"),
        ([1, 2], Classification(4), LABELS, r"got list; write .*dict\(enumerate\(weights\)\)"),
        ({4: 1.0}, Classification(4), LABELS, r"for classes in 0\.\.3, got 4; classes are counted"),
        ({-1: 1.0}, Classification(4), LABELS, r"in 0\.\.3, got -1"),
        ({"a": 1.0}, Classification(4), LABELS, "expected a class in class_weight of type int"),
        ({1: "2"}, Classification(4), LABELS, r"expected class_weight\[1\] to be a number"),
        ({1: -2}, Classification(4), LABELS, "of at least 0, got -2 for class 1; a rare class has"),
        ({1: float("nan")}, Classification(4), LABELS, "of at least 0, got nan for class 1"),
        (dict.fromkeys(range(4), 0), Classification(4), LABELS, "above 0 for some sample, got 0"),
        ({0: 0, 1: 0, 2: 0}, Classification(4), LABELS, "above 0 for some sample"),
        (dict.fromkeys(range(4), 0), Classification(4), None, "above 0 for some sample"),
        ("balanced", Classification(4), None, "expected all labels in memory for class_weight="),
        ("balanced", Regression(), np.zeros(8), "a loss for classes .* got one for numbers; give"),
        ({0: 1}, MultiLabel(), np.zeros((8, 2)), "got one for several labels; give weights of"),
    ],
)
def test_refused(given, task, labels, message):
    with pytest.raises((TypeError, ValueError), match=message):
        class_weights(given, task, labels, CPU)
