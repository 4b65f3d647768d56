"""What counts as right: logits that are no numbers, and labels of every kind people have."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    DataLoader,
    Dense,
    Flatten,
    Hinge,
    Layer,
    LogitCrossEntropy,
    Loss,
    MeanSquaredError,
    Rescale,
    SquaredHinge,
    confusion_matrix,
    diagnose,
    evaluate,
    fit,
    one_cold,
    one_hot,
)
from minibnn.backend import CPU
from minibnn.optimizers import SGD
from minibnn.training.accuracy import count_correct
from minibnn.training.recipe import _Best

NAN, INF = np.nan, np.inf
LOSSES = [LogitCrossEntropy(), Hinge(), SquaredHinge(), MeanSquaredError()]

# Logits of a sample, and whether an answer of class 0 counts as right.
ROWS = [
    ([3, 1, 2], True),
    ([3, 3, 2], True),  # the first of equals
    ([-1, -INF, -INF], True),  # classes that were ruled out
    ([NAN, 1, 2], False),
    ([1, NAN, 0], False),
    ([3, 1, NAN], False),
    ([INF, 1, 2], False),
    ([INF, INF, INF], False),
    ([-INF, -INF, -INF], False),
    ([NAN, NAN, NAN], False),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_a_finite_logit_can_be_right(dtype, backend):
    for row, right in ROWS:
        logits, labels = backend.asarray(np.array([row], dtype)), backend.asarray(np.array([0]))
        assert backend.to_host(backend.run(count_correct, logits, labels)) == right, row
    logits = backend.asarray(np.array([row for row, _ in ROWS], dtype))
    labels = backend.asarray(np.zeros(len(ROWS), np.uint8))
    assert backend.to_host(backend.run(count_correct, logits, labels)) == sum(r for _, r in ROWS)


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


def test_logits_that_are_nan_choose_no_model():
    model = Dense(2, 2).initialize(0)
    best = _Best(model)
    best.look(0.5)
    kept = model.weight.data.copy()
    model.weight.data[...] = np.nan
    best.look(float("nan"))
    best.look(0.0)
    best.restore()
    np.testing.assert_array_equal(model.weight.data, kept)


def test_one_cold_knows_no_class_of_nan(backend):
    with pytest.raises(
        ValueError, match=r"one_cold: expected scores without nan, got nan in row 1"
    ):
        one_cold(backend.asarray(np.array([[1.0, 2.0], [NAN, 0.0]])))
    with pytest.raises(ValueError, match=r"one_cold: expected at least 2 classes.*ravel"):
        one_cold(backend.asarray(np.array([[1.0], [2.0]])))
    with pytest.raises(ValueError, match="one_cold: expected at least 2 classes"):
        one_cold(backend.asarray(np.zeros((3, 0))))
    assert backend.to_host(one_cold(backend.asarray(np.array([[INF, 0.0]])))).tolist() == [0]
    assert backend.to_host(one_cold(backend.asarray(np.zeros((0, 3))))).shape == (0,)
    booleans = one_hot(np.array([2, 0]), 3, bool)
    assert backend.to_host(one_cold(backend.asarray(booleans))).tolist() == [2, 0]


# --- Labels ---------------------------------------------------------------------------------

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
    (np.array([0, 1, NAN, 2]), TypeError, "expected integer labels.*got float64"),
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
    (np.full((4, 3), NAN), ValueError, "expected rows of probabilities"),
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
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
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
    options = {"loss": MeanSquaredError(), "optimizer": SGD(model.parameters(), 0.1), "epochs": 1}
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
        for loss in LOSSES:
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
