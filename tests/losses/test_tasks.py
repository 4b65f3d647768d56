"""The tasks: predictions, truths, right answers, and the guess for a user's loss."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.losses import BinaryClassification, Classification, MultiLabel, Regression, Task
from minibnn.losses.tasks import classification, guess_task

NAN, INF = np.nan, np.inf


def on_host(backend, a):
    return np.asarray(backend.to_host(a)).tolist()


def check(backend, task, outputs, targets, predicted, truth, right):
    y, t = backend.asarray(np.array(outputs, np.float32)), backend.asarray(np.array(targets))
    assert on_host(backend, task.predict(y)) == predicted
    assert on_host(backend, task.truth(t)) == truth
    if right is not None:
        assert on_host(backend, task.right(y, t)) == right
        assert int(backend.to_host(task.count_right(y, t))) == np.sum(right)


def test_one_class_of_several(backend):
    task = Classification(3)
    outputs = [[1, 3, 2], [0, 0, -1], [NAN, 0, 0], [INF, 0, 0]]
    for targets in ([1, 1, 0, 0], [[0, 0.9, 0.1], [0, 1, 0], [1, 0, 0], [0.5, 0.3, 0.2]]):
        check(
            backend, task, outputs, targets, [1, 0, 0, 0], [1, 1, 0, 0], [True, False, False, False]
        )
    assert (task.classes, repr(task)) == (3, "Classification(3)")


@pytest.mark.parametrize("column", [False, True])
def test_one_class_of_two(column, backend):
    task = BinaryClassification()
    outputs = [0.0, -0.0, -1e-30, 2.0, NAN, INF]
    targets = [1, 0, 0, 0.5, 0, 1]
    if column:
        outputs, targets = np.array(outputs)[:, None], np.array(targets)[:, None]
    check(
        backend, task, outputs, targets, [1, 1, 0, 1, 0, 1], [1, 0, 0, 1, 0, 1],
        [True, False, True, True, False, False],
    )  # fmt: skip
    assert (task.classes, repr(task)) == (2, "BinaryClassification()")


def test_several_labels(backend):
    outputs, targets = [[1, -1, NAN], [0, 2, -3]], [[True, True, False], [True, False, False]]
    check(
        backend, MultiLabel(), outputs, targets, [[1, 0, 0], [1, 1, 0]], [[1, 1, 0], [1, 0, 0]],
        [[True, False, False], [True, False, True]],
    )  # fmt: skip
    assert MultiLabel().classes is None


def test_numbers(backend):
    check(backend, Regression(), [[1.5], [-2.0]], [1, 2], [1.5, -2.0], [1, 2], None)
    check(backend, Regression(), [[1.5, 2.0]], [[1.0, 2.0]], [[1.5, 2.0]], [[1.0, 2.0]], None)
    with pytest.raises(TypeError, match=r"Regression.*expected a task of classes or labels"):
        Regression().count_right(np.ones((2, 1)), np.ones(2))


def test_classification_asks_for_an_output_for_each_class():
    assert classification("who", np.zeros((1, 4)), None).classes == 4
    for outputs, message in (
        (np.zeros(3), r"^who: expected the model to give \(batch, classes\), got \(3,\)"),
        (np.zeros((1, 2, 2)), r"got \(1, 2, 2\); end it with Flatten\(\)"),
        (np.zeros((1, 1)), "^who, labels: expected at least 2 outputs"),
    ):
        for targets in (None, np.zeros(5, int)):
            with pytest.raises(ValueError, match=message):
                classification("who", outputs, targets)


@pytest.mark.parametrize(
    ("outputs", "targets", "classes"),
    [
        ((1, 3), np.array([0, 2, 1]), 3),
        ((1, 3), np.eye(3), 3),
        ((1, 3), None, None),
        ((1, 3), np.array([0, 3, 1]), None),
        ((1, 3), np.array([0, -1, 1]), None),  # a label to leave out
        ((1, 3), np.array([0.5, 1.5, 1.0]), None),
        ((1, 3), np.array([[0], [2], [1]]), None),
        ((1, 3), np.ones((3, 3)), None),
        ((1, 1), np.array([0, 1, 1]), None),
        ((1,), np.array([0, 1, 1]), None),
        ((1, 2, 2), np.array([0, 1, 1]), None),
        ((1, 3), np.array(["a", "b", "c"]), None),
        ((1, 3), np.array([[0, 1], [1, 0], [2, 2]]), None),
    ],
    ids=lambda v: "" if v is None else str(getattr(v, "shape", v)),
)
def test_targets_of_a_users_loss_look_like_classes_or_are_unknown(outputs, targets, classes):
    task = guess_task(np.zeros(outputs), targets)
    assert task.classes == classes
    assert type(task) is (Task if classes is None else Classification)
