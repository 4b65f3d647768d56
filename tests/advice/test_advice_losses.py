"""Advice about targets of every kind, weights of samples, and predictions is followed."""

from __future__ import annotations

import numpy as np
import pytest
from advice import advised
from devices import STRICT
from loss_cases import OwnLoss

from minibnn import (
    R2,
    BinaryCrossEntropy,
    DataLoader,
    Dense,
    Flatten,
    Huber,
    LogitCrossEntropy,
    MeanSquaredError,
    Rescale,
    Sequential,
    confusion_matrix,
    evaluate,
    get_backend,
    one_hot,
)
from minibnn.losses import Classification, Regression
from minibnn.losses.metrics import Accuracy
from minibnn.training.evaluate import shared_task

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def model(outputs):
    return Dense(3, outputs).initialize(0)


def value(loss, targets, outputs=1):
    """What `evaluate` gives; all checks of targets come before."""
    return evaluate(model(outputs), DataLoader((X, np.asarray(targets)), 2), loss).loss


# --- Labels 0 and 1 -------------------------------------------------------------------------------


def test_one_hot_rows_of_two_classes_become_labels():
    rows = np.eye(2)[[0, 1, 1, 0]]
    with advised("losses", "if these are one-hot rows, use labels.argmax(axis=1)"):
        value(BinaryCrossEntropy(), rows)
    labels = rows.argmax(axis=1)
    assert value(BinaryCrossEntropy(), labels) == value(BinaryCrossEntropy(), [0, 1, 1, 0])


@pytest.mark.parametrize("column", [False, True])
def test_one_class_a_sample_is_no_list_of_labels(column):
    labels = np.array([0, 2, 1, 0])
    given = labels[:, None] if column else labels
    with advised("losses", "for one class a sample use LogitCrossEntropy() and labels.ravel()"):
        value(BinaryCrossEntropy(), given, 3)
    right = value(LogitCrossEntropy(), labels, 3)
    assert value(LogitCrossEntropy(), given.ravel(), 3) == right


def test_more_than_two_classes_have_an_output_each():
    labels = np.array([0, 2, 1, 0])
    with advised(
        "losses", "for {} classes use LogitCrossEntropy() and a layer with {} outputs"
    ) as caught:
        value(BinaryCrossEntropy(), labels)
    outputs = int(caught.text.partition("a layer with ")[2].partition(" ")[0])
    assert np.isfinite(value(LogitCrossEntropy(), labels, outputs))


def test_signs_become_labels():
    labels = np.array([-1, 1, 1, -1])
    with advised("losses", "for labels -1 and +1 use (labels + 1) / 2"):
        value(BinaryCrossEntropy(), labels)
    right = value(BinaryCrossEntropy(), [0, 1, 1, 0])
    assert value(BinaryCrossEntropy(), (labels + 1) / 2) == right


def test_two_other_labels_are_compared():
    labels = np.array([0, 255, 255, 0], np.uint8)
    with advised("losses", "for labels {} and {} use labels == {}") as caught:
        value(BinaryCrossEntropy(), labels)
    assert "for labels 0 and 255 use labels == 255" in caught.text
    right = value(BinaryCrossEntropy(), [0, 1, 1, 0])
    assert value(BinaryCrossEntropy(), labels == 255) == right


def test_signs_become_classes():
    labels = np.array([-1, 1, 1, -1])
    with advised("losses", "for labels -1 and +1 use (labels + 1) // 2"):
        value(LogitCrossEntropy(), labels, 2)
    right = value(LogitCrossEntropy(), [0, 1, 1, 0], 2)
    assert value(LogitCrossEntropy(), (labels + 1) // 2, 2) == right


def test_missing_labels_are_left_out():
    for loss, outputs in ((BinaryCrossEntropy(), 1), (LogitCrossEntropy(), 2)):
        labels = np.array([0, np.nan, 1, 0])
        with advised("losses", "leave these samples out"):
            value(loss, labels, outputs)
        kept = np.isfinite(labels)
        data = DataLoader((X[kept], labels[kept].astype("int64")), 2)
        assert evaluate(model(outputs), data, loss).loss > 0


def test_rows_of_objects_become_numbers():
    rows = np.eye(2)[[0, 1, 1, 0]].astype(object)
    with advised("losses", "if they are numbers, use labels.astype('float32')"):
        value(LogitCrossEntropy(), rows, 2)
    right = value(LogitCrossEntropy(), [0, 1, 1, 0], 2)
    assert value(LogitCrossEntropy(), rows.astype("float32"), 2) == right


def test_two_classes_are_counted_from_zero():
    labels = np.array([1, 2, 2, 1])
    with advised("losses", "classes are counted from 0: use labels - 1"):
        value(BinaryCrossEntropy(), labels)
    assert value(BinaryCrossEntropy(), labels - 1) == value(BinaryCrossEntropy(), [0, 1, 1, 0])


def test_numbers_are_no_probabilities():
    numbers = [0.5, 1.5, -2.0, 7.0]
    with advised("losses", "for numbers that are no probabilities use MeanSquaredError()"):
        value(BinaryCrossEntropy(), numbers)
    assert np.isfinite(value(MeanSquaredError(), numbers))


@pytest.mark.parametrize("dtype", [str, object])
def test_two_names_are_numbered(dtype):
    labels = np.array(["no", "yes", "yes", "no"], dtype)
    with advised(
        "losses", "names, labels = numpy.unique(labels, return_inverse=True) numbers two names"
    ):
        value(BinaryCrossEntropy(), labels)
    names, labels = np.unique(labels, return_inverse=True)
    assert value(BinaryCrossEntropy(), labels) == value(BinaryCrossEntropy(), [0, 1, 1, 0])
    assert names.tolist() == ["no", "yes"]


# --- Numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [MeanSquaredError(), Huber()], ids=repr)
class TestNumbers:
    def test_a_target_of_several_numbers_has_an_output_for_each(self, loss):
        targets = np.arange(8.0).reshape(4, 2)
        with advised("losses", "the last layer has one output for each number of a target"):
            value(loss, targets)
        assert np.isfinite(value(loss, targets, 2))

    def test_one_number_a_target_has_one_output(self, loss):
        for targets in (np.arange(4) / 2, 100.0 * np.arange(4)[:, None]):
            with advised("losses", "the last layer has one output for each number of a target"):
                value(loss, targets, 2)
            assert np.isfinite(value(loss, targets, 1))

    def test_texts_become_numbers(self, loss):
        texts = np.array(["1.5", "2", "-3", "0"])
        with advised("losses", "if they are numbers, use targets.astype('float32')"):
            value(loss, texts)
        assert value(loss, texts.astype("float32")) == value(loss, [1.5, 2, -3, 0])

    def test_names_become_classes(self, loss):
        targets = np.array(["ant", "bee", "cow", "ant"])
        with advised(
            "losses",
            "if they are names, names, labels = numpy.unique(targets, return_inverse=True) numbers "
            "them, for LogitCrossEntropy() and one output for each name",
        ):
            value(loss, targets)
        names, labels = np.unique(targets, return_inverse=True)
        assert np.isfinite(value(LogitCrossEntropy(), labels, len(names)))

    def test_samples_without_a_target_are_left_out(self, loss):
        targets = np.array([1.0, np.nan, 2.0, np.inf])
        with advised("losses", "leave these samples out"):
            value(loss, targets)
        kept = np.isfinite(targets)
        data = DataLoader((X[kept], targets[kept]), 2)
        assert np.isfinite(evaluate(model(1), data, loss).loss)


def test_rows_of_labels_stand_beside_rows_of_numbers():
    labels, numbers = np.array([0, 1, 1, 0]), np.array([[1.0, -2.0]] * 4)
    train, test = (DataLoader((X, t), 2) for t in (labels, numbers))
    tasks, loss = [Classification(2), Regression()], MeanSquaredError()
    with advised("training", "make rows of the labels with one_hot(labels, classes)"):
        shared_task("fit", tasks, [train, test])
    rows = DataLoader((X, one_hot(labels, 2)), 2)
    tasks = [loss.task(np.zeros((1, 2)), data.arrays[1]) for data in (rows, test)]
    assert type(shared_task("fit", tasks, [rows, test])) is Regression


def test_a_metric_is_one_of_the_losss_own():
    with advised("losses", "use {}") as caught:
        Accuracy().check(Regression(), "who")
    assert caught.text.endswith("use MeanAbsoluteError()")
    Regression.metrics[0].check(Regression(), "who")


def test_a_loss_of_ones_own_says_what_its_targets_are():
    class Known(OwnLoss):
        def task(self, outputs, targets=None, who=""):
            return Regression()

    data = DataLoader((X, np.arange(4.0)), 2)
    with advised("losses", "override the method task of your loss"):
        evaluate(model(1), data, OwnLoss(), metrics=[R2()])
    assert evaluate(model(1), data, Known(), metrics=[R2()]).r2 < 1


def test_numbers_have_no_confusion_matrix():
    data, net = DataLoader((X, np.arange(4.0)), 2), model(1)
    with advised("training", "evaluate(model, data, loss) says how far off the model is"):
        confusion_matrix(net, data, MeanSquaredError())
    assert evaluate(net, data, MeanSquaredError()).mean_absolute_error > 0


def test_images_are_flattened_before_the_last_layer():
    images, labels = np.ones((4, 2, 2), np.float32), np.array([0, 1, 2, 3])
    with advised("losses", "end it with Flatten() and a layer that has an output for each class"):
        evaluate(Rescale(1.0), DataLoader((images, labels), 2), LogitCrossEntropy())
    net = Sequential(Rescale(1.0), Flatten(), Dense(4, 4)).initialize(0)
    assert evaluate(net, DataLoader((images, labels), 2), LogitCrossEntropy()).loss > 0


# --- Weights --------------------------------------------------------------------------------------

LABELS, LOGITS = np.array([0, 1, 2, 0]), np.eye(4, 3)
WEIGHTS = np.array([1.0, 0, 2, 1])


def weighted(w, loss=None, logits=LOGITS, labels=LABELS):
    return float((loss or LogitCrossEntropy()).weighted_forward(logits, labels, w))


def test_a_column_of_weights_is_made_a_vector():
    with advised("losses", "use weights.ravel()"):
        weighted(WEIGHTS[:, None])
    assert weighted(WEIGHTS[:, None].ravel()) == weighted(WEIGHTS)


def test_weights_of_objects_become_numbers():
    with advised("losses", "if they are numbers, use weights.astype('float32')"):
        weighted(WEIGHTS.astype(object))
    assert weighted(WEIGHTS.astype(object).astype("float32")) == weighted(WEIGHTS)


def test_a_sample_is_left_out_by_a_weight_of_zero():
    with advised("losses", "a weight of 0 leaves a sample out"):
        weighted(np.array([1.0, -1, 1, 1]))
    kept = np.array([0, 2, 3])
    without = float(LogitCrossEntropy().forward(LOGITS[kept], LABELS[kept]))
    assert weighted(np.array([1.0, 0, 1, 1])) == pytest.approx(without, rel=1e-12)


def test_weights_are_moved_to_the_outputs():
    with advised("losses", "move them with get_backend({}).asarray"):
        weighted(STRICT.asarray(WEIGHTS))
    assert weighted(get_backend("cpu").asarray(STRICT.to_host(STRICT.asarray(WEIGHTS)))) > 0


def test_a_loss_of_ones_own_gets_weights():
    y, t = np.array([[1.0], [-2.0]]), np.array([0.5, 1.0])
    with advised(
        "losses",
        "write forward(self, outputs, targets, weights=None), and divide the weighted sum by the "
        "sum of the weights",
    ):
        weighted(np.array([1.0, 3]), OwnLoss(), y, t)

    class Distance(OwnLoss):
        def forward(self, outputs, targets, weights=None):
            distances = abs(outputs.ravel() - targets)
            if weights is None:
                return distances.mean()
            return (weights * distances).sum() / weights.sum()

    assert weighted(np.array([1.0, 3]), Distance(), y, t) == (0.5 + 3 * 3) / 4


# --- Predictions ----------------------------------------------------------------------------------


def test_a_prediction_takes_the_loaders_samples():
    data = DataLoader((X, LABELS), 2)
    with advised("training", "use .arrays[0]"):
        model(3).predict(data)
    assert model(3).predict(data.arrays[0]).shape == (4, 3)


def test_a_prediction_takes_one_sample_as_a_batch():
    net = model(3)
    net.forward(X, train=True)
    with advised("training", "use x[None]"):
        net.predict(X[0])
    np.testing.assert_allclose(net.predict(X[0][None]), net(X[:1]), rtol=1e-6)


def test_a_model_is_moved_to_its_samples():
    x = STRICT.asarray(X)
    with advised("training", "use model.to({})"):
        model(3).predict(x)
    net = model(3).to(STRICT)
    np.testing.assert_allclose(STRICT.to_host(net.predict(x)), model(3).predict(X), rtol=1e-6)
