"""Each kind of task trains, evaluates, is diagnosed, is captured and resumes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from captured_training import assert_equal
from devices import STRICT
from loss_cases import OwnLoss
from tasks_to_train import TASKS, Task

from minibnn import (
    Adam,
    BinaryCrossEntropy,
    Checkpoint,
    DataLoader,
    Dense,
    LogitCrossEntropy,
    MeanSquaredError,
    confusion_matrix,
    diagnose,
    evaluate,
    fit,
)
from minibnn.losses import Classification, Regression
from minibnn.losses import Task as UnknownTask
from minibnn.training import CapturedSteps, PlainSteps
from minibnn.training.evaluate import shared_task

every_task = pytest.mark.parametrize("name", TASKS)


def columns(column):
    return [f"{stem}_{part}" for stem in ("loss", column) if stem for part in ("train", "test")]


@every_task
def test_it_learns_and_the_history_says_what_the_loss_reports(name):
    task = Task(name, "cpu", samples=300)
    before = evaluate(task.model, task.test, task.loss)
    history = task.fit(epochs=10)
    assert list(history.columns) == [*columns(task.column), "flips_0.weight"]
    after = evaluate(task.model, task.test, task.loss)
    assert after.loss < 0.75 * before.loss
    assert history.loss_test.iloc[-1] == pytest.approx(after.loss, rel=1e-5)
    if task.column is None:
        assert after._fields == ("loss",)
        return
    (metric,) = after[1:]
    assert history[f"{task.column}_test"].iloc[-1] == pytest.approx(metric, rel=1e-6)
    assert (metric < before[1]) if task.column == "mae" else (metric > before[1] + 0.1)


@every_task
def test_metrics_are_means_over_samples(name, backend):
    task = Task(name, backend)
    x, targets = task.test.arrays
    by_three = evaluate(task.model, DataLoader((x, targets), 3), task.loss)
    at_once = evaluate(task.model, DataLoader((x, targets), 40), task.loss)
    assert tuple(by_three) == pytest.approx(tuple(at_once), rel=1e-6)
    whole = backend.to_host(task.loss.forward(task.model(x), targets))
    assert at_once.loss == pytest.approx(float(whole), rel=1e-6)


@every_task
def test_captured_steps_equal_plain_ones(name, device):
    plain, captured = (Task(name, device, samples=90) for _ in range(2))
    steps = [
        kind(task.model, task.loss, task.optimizer)
        for kind, task in ((PlainSteps, plain), (CapturedSteps, captured))
    ]
    for _ in range(3):
        losses = [s.epoch(task.train) for s, task in zip(steps, (plain, captured), strict=True)]
        one, other = map(device.to_host, losses)
        np.testing.assert_array_equal(one, other)
    assert steps[1].captured
    assert_equal(*steps)


@every_task
def test_fit_captures_it(name):
    task = Task(name, STRICT, samples=90)
    history = task.fit()
    assert history.attrs["captured"]
    on_host = Task(name, "cpu", samples=90).fit()
    np.testing.assert_allclose(history.to_numpy(), on_host.to_numpy(), atol=0.1)


@every_task
def test_it_resumes_to_the_same_bytes(name, tmp_path):
    path = tmp_path / "run.safetensors"
    whole, first, second = (Task(name, "cpu") for _ in range(3))
    expected = whole.fit(epochs=4)
    first.fit(epochs=2, checkpoint=Checkpoint(path))
    history = second.fit(epochs=4, checkpoint=Checkpoint(path, resume=True))
    pd.testing.assert_frame_equal(history, expected, check_exact=True)
    for p, q in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


@every_task
def test_a_diagnosis_asks_the_loss(name, backend):
    task = Task(name, backend)
    found = {finding.kind for finding in diagnose(task.model, task.train, task.loss).findings}
    assert "non-finite" not in found
    assert "starved" not in found


@pytest.mark.parametrize("name", ["two classes", "two classes in a column"])
def test_a_confusion_matrix_of_one_output(name, backend):
    task = Task(name, backend)
    task.fit(epochs=5)
    matrix = confusion_matrix(task.model, task.test, task.loss).to_numpy()
    assert matrix.shape == (2, 2)
    accuracy = evaluate(task.model, task.test, task.loss).accuracy
    assert matrix.trace() == round(40 * accuracy)
    truth = backend.to_host(task.test.arrays[1]).ravel()
    assert matrix.sum(axis=1).tolist() == [40 - truth.sum(), truth.sum()]


def test_a_confusion_matrix_of_outputs_that_are_not_finite():
    task = Task("two classes", "cpu")
    task.model[3].weight.data[...] = np.nan
    with pytest.raises(ValueError, match=r"expected finite logits, got .* 40 of 40 samples"):
        confusion_matrix(task.model, task.test, task.loss)
    assert evaluate(task.model, task.test, task.loss).accuracy == 0


@pytest.mark.parametrize("name", ["a number", "several labels", "a user's loss"])
def test_no_confusion_matrix_without_classes(name):
    task = Task(name, "cpu")
    with pytest.raises(TypeError, match="confusion_matrix: expected a loss for one class a sample"):
        confusion_matrix(task.model, task.test, task.loss)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "message"),
    [
        (BinaryCrossEntropy(), 1, np.arange(8) % 3, "labels: expected labels in .* for 3 classes"),
        (BinaryCrossEntropy(), 2, np.arange(8) % 2, "labels: .*use LogitCrossEntropy"),
        (MeanSquaredError(), 1, np.full(8, np.nan), "targets: expected finite targets"),
        (MeanSquaredError(), 2, np.zeros((8, 3)), r"targets: expected targets of shape \(8, 2\)"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_targets_are_checked_before_the_first_step(loss, outputs, targets, message, backend):
    model = Dense(4, outputs).initialize(0).to(backend)
    data = DataLoader((np.ones((8, 4), np.float32), targets), 4).to(backend)
    right = loss.task(np.zeros((1, outputs)), None)
    assert right
    optimizer = Adam(model.parameters())
    for who, call in (
        ("evaluate: data", lambda: evaluate(model, data, loss)),
        ("diagnose: data", lambda: diagnose(model, data, loss)),
        ("confusion_matrix: data", lambda: confusion_matrix(model, data, loss)),
        ("fit: train", lambda: fit(model, data, data, loss=loss, optimizer=optimizer, epochs=1)),
    ):
        with pytest.raises(ValueError, match=f"^{who}, {message}"):
            call()


# --- Two data sets --------------------------------------------------------------------------------


def loaders(*targets):
    return [DataLoader((np.zeros((len(t), 2), np.float32), t), 2) for t in targets]


def test_rows_that_look_like_classes_by_chance_are_numbers_beside_others():
    rows, numbers = np.array([[0.25, 0.75]] * 4), np.array([[3.0, 4.0]] * 4)
    loss, model = MeanSquaredError(), Dense(2, 2).initialize(0)
    for train, test in ((rows, numbers), (numbers, rows)):
        history = fit(
            model, *loaders(train, test), loss=loss, optimizer=Adam(model.parameters()), epochs=1
        )
        assert list(history.columns) == columns("mae")


def test_the_task_that_data_sets_share():
    classes, numbers, unknown = Classification(2), Regression(), UnknownTask()
    labels, rows = np.array([0, 1]), np.eye(2)
    assert shared_task("fit", [classes, classes], loaders(labels, rows)) is classes
    assert shared_task("fit", [classes, numbers], loaders(rows, rows)) is numbers
    assert shared_task("fit", [unknown, classes], loaders(labels, labels)) is unknown
    assert shared_task("fit", [classes], loaders(labels)) is classes
    with pytest.raises(ValueError, match=r"^fit: .* got classes and numbers; make rows of the lab"):
        shared_task("fit", [classes, numbers], loaders(labels, rows))


def test_a_users_loss_may_leave_labels_out():
    """A label of -1 has no output; only such a loss knows what it means."""

    class LeavesOut(OwnLoss):
        def forward(self, y, t):
            self.loss = LogitCrossEntropy()
            return self.loss.forward(y, t.clip(0))

        def backward(self):
            return self.loss.backward()

    model = Dense(2, 2).initialize(0)
    train, test = loaders(np.array([0, 1, 1]), np.array([-1, 1, 0]))
    history = fit(
        model, train, test, loss=LeavesOut(), optimizer=Adam(model.parameters()), epochs=1
    )
    assert list(history.columns) == columns(None)
    assert evaluate(model, train, LeavesOut())._fields == ("loss", "accuracy")


def test_a_users_loss_may_return_a_python_number():
    class Number(OwnLoss):
        def forward(self, y, t):
            return float(super().forward(y, t))

    results = []
    for loss in (Number(), OwnLoss()):
        task = Task("a user's loss", "cpu")
        task.loss = loss
        results.append((task.fit().to_numpy(), tuple(evaluate(task.model, task.test, loss))))
        assert diagnose(task.model, task.train, loss).findings is not None
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-6)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-6)


@pytest.mark.parametrize("wrong", [None, "regression", Regression])
def test_a_users_task_is_a_task(wrong):
    class Wrong(OwnLoss):
        def task(self, outputs, targets=None, who=""):
            return wrong

    task = Task("a user's loss", "cpu")
    task.loss = Wrong()
    for who, call in (
        ("evaluate", lambda: evaluate(task.model, task.test, task.loss)),
        ("diagnose", lambda: diagnose(task.model, task.test, task.loss)),
        ("confusion_matrix", lambda: confusion_matrix(task.model, task.test, task.loss)),
        ("predict", lambda: task.model.predict(task.test.arrays[0], loss=task.loss)),
        ("fit", task.fit),
    ):
        with pytest.raises(TypeError, match=f"^{who}: expected Wrong.task's result of type Task"):
            call()
