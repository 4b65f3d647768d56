"""`evaluate`: every sample counts once, labels of every kind, and what is refused."""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from clusters import binary_model, clusters

from minibnn import (
    SGD,
    DataLoader,
    Dense,
    Flatten,
    Hinge,
    Layer,
    LogitCrossEntropy,
    Loss,
    MeanSquaredError,
    Metrics,
    Rescale,
    SquaredHinge,
    confusion_matrix,
    diagnose,
    evaluate,
    fit,
    one_hot,
)
from minibnn.backend import CPU


def test_every_sample_counts_once():
    """101 samples in batches of 10: the last one weighs as much as any other."""
    model = binary_model()
    x, labels = clusters(101, 3)
    by_tens = evaluate(
        model, DataLoader((x, labels), 10, shuffle=True, drop_last=True, rng=0), LogitCrossEntropy()
    )
    logits = model.forward(x)
    assert by_tens.accuracy == (logits.argmax(axis=1) == labels).mean()
    assert by_tens.loss == pytest.approx(
        float(LogitCrossEntropy().forward(logits, labels)), rel=1e-6
    )


def test_batches_are_weighted_by_their_size(monkeypatch):
    model = binary_model()
    data = DataLoader(clusters(101, 3), 10)
    expected = evaluate(model, data, LogitCrossEntropy())
    monkeypatch.setattr(
        sys.modules["minibnn.training.evaluate"], "EVALUATION_BATCH", 40
    )  # 40 + 40 + 21
    got = evaluate(model, data, LogitCrossEntropy())
    assert got.loss == pytest.approx(expected.loss, rel=1e-6)
    assert got.accuracy == expected.accuracy


def test_evaluate_takes_one_hot_labels_and_leaves_the_loss_alone():
    model = binary_model()
    x, labels = clusters(50, 3)
    loss = LogitCrossEntropy()
    loss.forward(model.forward(x[:4]), labels[:4])
    hard = evaluate(model, DataLoader((x, labels), 10), loss)
    soft = evaluate(model, DataLoader((x, one_hot(labels, 3)), 10), loss)
    assert soft == pytest.approx(hard)
    assert loss.backward().shape == (4, 3)


def test_evaluate_checks_what_it_is_given(device):
    model, (x, labels) = binary_model(), clusters(9, 0)
    loss = LogitCrossEntropy()
    with pytest.raises(TypeError, match="evaluate: data: expected a DataLoader, got tuple"):
        evaluate(model, (x, labels), loss)
    with pytest.raises(TypeError, match="expected the model, a Layer, first"):
        evaluate(DataLoader((x, labels), 3), model, loss)
    there = DataLoader((x, labels + 1), 3).to(device)
    with pytest.raises(TypeError, match="expected model and data on one device"):
        evaluate(model, there, loss)
    with pytest.raises(ValueError, match=r"labels: expected labels in 0\.\.2, got 3"):
        evaluate(model.to(device), there, loss)


NAN, INF = np.nan, np.inf


CLASS_LOSSES = [LogitCrossEntropy(), Hinge(), SquaredHinge()]


LOSSES = [*CLASS_LOSSES, MeanSquaredError()]


class Quiet(Loss):
    """A loss that is finite whatever comes."""

    def forward(self, logits, labels):
        return logits[0, 0] * 0 if bool(np.isfinite(logits[0, 0])) else logits.dtype.type(0)

    def backward(self):
        raise NotImplementedError


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("loss", [LogitCrossEntropy(), Hinge(), Quiet()], ids=repr)
def test_a_model_with_weights_that_are_no_numbers_is_never_right(value, loss):
    model = Dense(4, 3).initialize(0)
    model.weight.data[...] = value
    data = DataLoader((np.ones((6, 4), np.float32), np.zeros(6, np.int64)), 2)
    with np.errstate(all="ignore"):
        metrics = evaluate(model, data, loss)
        assert metrics.accuracy == 0
        with pytest.raises(
            ValueError, match=r"confusion_matrix: expected finite logits, got .* 6 of"
        ):
            confusion_matrix(model, data)


# --- Labels --------------------------------------------------------------------------------------


SCORES = np.array([[2, 1, 0], [0, 1, 0], [3, 0, 4], [0, 5, 0]], np.float32)


RIGHT = [0, 1, 2, 2]  # three of four


SUBSETS = [
    # Labels that mean these classes: the value has to be the right one.
    np.array(RIGHT),
    np.array(RIGHT, np.uint8),
    np.array(RIGHT, np.int8),
    np.array(RIGHT, np.uint64),
    one_hot(np.array(RIGHT), 3),
    one_hot(np.array(RIGHT), 3, np.uint8),
    one_hot(np.array(RIGHT), 3, bool),
    one_hot(np.array(RIGHT), 3, np.float64),
]


REFUSED = [
    (np.array(RIGHT, float), TypeError, r"expected integer labels.*got float64.*astype\('int64'\)"),
    (np.array([0, 1.5, 2, 2]), TypeError, "expected integer labels.*got float64.*numpy.unique"),
    (
        np.array([0, 1, NAN, 2]),
        ValueError,
        "expected finite targets, got nan .* in number 2; leave",
    ),
    (np.array([False, True, True, False]), TypeError, "expected integer labels.*got bool"),
    (np.array(list("abca")), TypeError, "expected integer labels.*got <U1.*numpy.unique"),
    (
        np.array(["0", "1", "2", "2"], object),
        TypeError,
        "expected integer labels.*got object.*numpy.un",
    ),
    (np.array(RIGHT, complex), TypeError, "expected integer labels.*got complex128"),
    (np.array(RIGHT)[:, None], ValueError, r"expected labels of shape \(batch,\).*ravel"),
    (np.array(RIGHT, float)[:, None], ValueError, r"expected labels of shape \(batch,\).*ravel"),
    (np.zeros((4, 1, 3)), ValueError, r"expected labels of shape \(4,\) or \(4, 3\)"),
    (np.full((4, 2), 0.5), ValueError, r"expected labels of shape \(4,\) or \(4, 3\)"),
    (np.full((4, 4), 0.25), ValueError, r"expected labels of shape \(4,\) or \(4, 3\)"),
    (np.array([0, 1, 2, -1]), ValueError, r"expected labels in 0\.\.2, got -1"),
    (np.array([1, 2, 3, 3]), ValueError, r"expected labels in 0\.\.2, got 3"),
    (np.array([0, 1, 2, 2**63], np.uint64), ValueError, r"expected labels in 0\.\.2, got 9"),
    (np.full((4, 3), 0.5), ValueError, "expected rows of probabilities"),
    (np.full((4, 3), NAN), ValueError, "expected finite targets"),
    (one_hot(np.array(RIGHT), 3).astype(str), TypeError, "expected .*labels.*got <U32"),
    (np.ma.masked_array(RIGHT, [0, 0, 1, 0]), TypeError, "mask"),
]


def data(labels, backend=CPU):
    return DataLoader((SCORES, labels), 2).to(backend)


@pytest.mark.parametrize("labels", SUBSETS, ids=lambda a: f"{a.dtype} {a.shape}")
def test_labels_that_are_right(labels, backend):
    model = Rescale(1.0).to(backend)
    for loss in LOSSES:
        assert evaluate(model, data(labels, backend), loss).accuracy == 0.75
    table = confusion_matrix(model, data(labels, backend)).to_numpy()
    assert table.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


@pytest.mark.parametrize(("labels", "error", "message"), REFUSED, ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=repr)
def test_labels_that_are_not(labels, error, message, loss):
    """Each in our words: never NumPy's, never cut off."""
    with pytest.raises(
        error, match=f"(?s)^{type(loss).__name__}: .*{message}|^DataLoader: .*mask|mask"
    ):
        loss.forward(SCORES, labels)
    model = Dense(3, 3).initialize(0)
    options = {"loss": loss, "optimizer": SGD(model.parameters(), 0.1), "epochs": 1}
    for call in (
        lambda: evaluate(model, data(labels), loss),
        lambda: confusion_matrix(model, data(labels)),
        lambda: diagnose(model, data(labels), loss),
        lambda: fit(model, data(labels), data(np.array(RIGHT)), **options),
        lambda: fit(model, data(np.array(RIGHT)), data(labels), **options),
    ):
        with pytest.raises(error, match=message):
            call()


# --- Outputs -------------------------------------------------------------------------------------


class Nothing(Layer):
    """Gives its input as it is."""

    def forward(self, x, *, train=False):
        return x

    def backward(self, dy, *, need_dx=True):
        return dy


def test_one_output_is_no_class():
    """The greatest of one logit is always class 0, and its softmax 1."""
    x, zeros, ones = np.ones((4, 2), np.float32), np.zeros(4, int), np.ones((4, 1), np.float32)
    model = Dense(2, 1).initialize(0)
    options = {"loss": SquaredHinge(), "optimizer": SGD(model.parameters(), 0.1), "epochs": 1}
    for labels in (zeros, ones):
        one = DataLoader((x, labels), 2)
        for call in (
            lambda one: evaluate(model, one, LogitCrossEntropy()),
            lambda one: confusion_matrix(model, one),
            lambda one: fit(model, one, one, **options),
            lambda one: diagnose(model, one),
        ):
            with pytest.raises(
                ValueError, match=r"expected at least 2 outputs.*one for each class"
            ):
                call(one)
        for loss in CLASS_LOSSES:
            with pytest.raises(
                ValueError, match=f"{type(loss).__name__}: expected at least 2 outp"
            ):
                loss.forward(np.ones((4, 1)), labels)
    # The way out: two classes are two outputs.
    two = Dense(2, 2).initialize(0)
    assert 0 <= evaluate(two, DataLoader((x, zeros), 2), LogitCrossEntropy()).accuracy <= 1


@pytest.mark.parametrize("shape", [(4,), (4, 2, 3), (4, 1, 1, 3)])
def test_outputs_that_are_no_logits(shape):
    x = np.zeros(shape, np.float32)
    for call in (evaluate, lambda m, d, _: confusion_matrix(m, d), diagnose):
        with pytest.raises(ValueError, match=r"expected the model to give \(batch, classes\), got"):
            call(Nothing(), DataLoader((x, np.zeros(4, int)), 2), LogitCrossEntropy())
    if len(shape) > 2:
        flat = DataLoader((Flatten().forward(x), np.zeros(4, int)), 2)
        assert evaluate(Nothing(), flat, LogitCrossEntropy()).accuracy == 1


# --- What it returns ------------------------------------------------------------------------------


def test_metrics_are_a_tuple_with_names():
    metrics = evaluate(Rescale(1.0), data(np.array(RIGHT)), LogitCrossEntropy())
    loss, accuracy = metrics
    assert (metrics.loss, metrics.accuracy) == (loss, accuracy) == metrics
    assert metrics._fields == ("loss", "accuracy")
    assert metrics._asdict() == {"loss": loss, "accuracy": 0.75}
    assert repr(Metrics(loss=0.5, accuracy=1.0)) == "Metrics(loss=0.5, accuracy=1.0)"
    for copied in (pickle.loads(pickle.dumps(metrics)), copy.copy(metrics), copy.deepcopy(metrics)):
        assert copied == metrics
        assert copied.accuracy == accuracy
        assert type(copied) is Metrics
    table = pd.DataFrame([metrics, metrics])
    assert table.columns.tolist() == ["loss", "accuracy"]


def test_a_metric_may_have_any_name():
    metrics = Metrics(loss=0.5, count=2.0, index=3.0, cls=4.0)
    assert (metrics.count, metrics.index, metrics.cls) == (2, 3, 4)


def test_a_metric_that_is_not_there():
    metrics = Metrics(loss=0.5, mean_absolute_error=1.0)
    with pytest.raises(
        AttributeError, match=r"got 'accuracy'; there are loss, mean_absolute_error$"
    ):
        metrics.accuracy  # noqa: B018
    assert not hasattr(metrics, "__array_interface__")
