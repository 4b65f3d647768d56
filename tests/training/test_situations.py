"""Situations of fault reports on training loops: the right value, or one clear sentence.

Each situation is a function that either returns (and has checked a value) or raises; the table says
which sentence. `raises` is matched against the message and its notes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from clusters import binary_model, clusters

from minibnn import (
    F1,
    R2,
    SGD,
    Accuracy,
    Adam,
    AdamW,
    BalancedAccuracy,
    BinaryCrossEntropy,
    Checkpoint,
    CheckpointError,
    Constant,
    Cosine,
    Cutout,
    DataLoader,
    Dense,
    DivergedError,
    EarlyStopping,
    IterableLoader,
    LogitCrossEntropy,
    Loss,
    MeanSquaredError,
    WarmUp,
    evaluate,
    fit,
)

X, LABELS = clusters(96, 1)
OTHERS = clusters(40, 3)
NAN = float("nan")


def loader(x=X, labels=LABELS, *more, batch=32, **options):
    options = {"shuffle": True, "rng": 2, **options}
    return DataLoader((x, labels, *more), batch, **options)


def validation(x=OTHERS[0], labels=OTHERS[1], *more):
    return DataLoader((x, labels, *more), 20)


def run(train=None, *given, model=None, optimizer=None, loss=None, epochs=2, **options):
    model = model or binary_model()
    optimizer = (optimizer or (lambda p: Adam(p, 1e-2)))(list(model.parameters()))
    with np.errstate(all="ignore"):
        return fit(
            model, train or loader(), *given, loss=loss or LogitCrossEntropy(),
            optimizer=optimizer, epochs=epochs, progress=False, **options,
        )  # fmt: skip


def with_one(a, value, at=0):
    a = a.astype(np.float64 if isinstance(value, float) else a.dtype)
    a.reshape(-1)[at] = value
    return a.astype(np.float32) if a.dtype == np.float64 else a


def weights(*values):
    """These weights, then 1."""
    w = np.ones(96)
    w[: len(values)] = values
    return w


class Only:
    """A callback of these methods."""

    def __init__(self, **methods):
        vars(self).update(methods)


def fails(*_):
    raise KeyError("cannot write the log")


def fails_after(epochs):
    return lambda history: fails() if len(history) == epochs else None


class Situation(NamedTuple):
    """What happens, and what people shall see."""

    what: str
    act: Callable[..., Any]
    raises: str | None = None  # None: a value, which `act` has checked


SITUATIONS: list[Situation] = []


def situation(what: str, raises: str | None = None) -> Callable[..., Any]:
    def note(act: Callable[..., Any]) -> Callable[..., Any]:
        SITUATIONS.append(Situation(what, act, raises))
        return act

    return note


def refused(what: str, raises: str, act: Callable[..., Any]) -> None:
    SITUATIONS.append(Situation(what, act, raises))


def finite(history, epochs=2):
    assert len(history) == epochs
    assert np.isfinite(history.to_numpy()).all()


# --- Targets -------------------------------------------------------------------------------------

refused("labels from 1", r"fit: train, labels: expected labels in 0\.\.2, got 3; classes are count",
        lambda: run(loader(labels=LABELS + 1)))  # fmt: skip
refused("labels from 1 in the validation data only", r"fit: validation, labels: .* got 3",
        lambda: run(validation=validation(labels=OTHERS[1] + 1)))  # fmt: skip
refused("a label of -1 for unknown", r"expected labels in 0\.\.2, got -1",
        lambda: run(loader(labels=with_one(LABELS, -1))))  # fmt: skip
refused("labels as a column", r"expected labels of shape \(batch,\), got \(96, 1\); use labels.rav",
        lambda: run(loader(labels=LABELS[:, None])))  # fmt: skip
refused("labels as float32", r"use labels.astype\('int64'\)",
        lambda: run(loader(labels=LABELS.astype(np.float32))))  # fmt: skip
refused("labels as names", r"numpy.unique\(labels, return_inverse=True\) numbers them",
        lambda: run(loader(labels=np.array(["a", "b", "c"])[LABELS])))  # fmt: skip
refused("labels as names, of which some are missing", "expected finite targets, got nan or infinity in 1",
        lambda: run(loader(labels=with_one(LABELS, NAN, 7))))  # fmt: skip
refused("labels -1 and +1 of two classes", r"for labels -1 and \+1 use \(labels \+ 1\) // 2",
        lambda: run(loader(labels=(LABELS > 0) * 2 - 1)))  # fmt: skip
refused("labels 0 and 255 of one output", "for labels 0 and 255 use labels == 255",
        lambda: run(loader(labels=(LABELS > 0) * 255), model=Dense(8, 1).initialize(0),
                    loss=BinaryCrossEntropy()))  # fmt: skip
refused("labels of which some are nan, with one output", "got nan or infinity in 1 samples, first in number 4",
        lambda: run(loader(labels=with_one((LABELS > 0) * 1.0, NAN, 4)),
                    model=Dense(8, 1).initialize(0), loss=BinaryCrossEntropy()))  # fmt: skip
refused("one number a sample, and a model of two outputs", r"targets of shape \(96, 2\), got \(96,\)",
        lambda: run(loader(labels=X[:, 0] * 100), model=Dense(8, 2).initialize(0),
                    loss=MeanSquaredError()))  # fmt: skip
refused(
    "targets as a row", "array 1 would fit as its transpose", lambda: loader(labels=LABELS[None])
)
refused("targets that overflow the loss", "targets are as large as 1e.25, too large for the loss",
        lambda: run(loader(labels=np.full(96, 1e25)), model=Dense(8, 1).initialize(0),
                    loss=MeanSquaredError()))  # fmt: skip
refused("targets of the validation data that overflow the loss", "validation.*as large as 1e.25",
        lambda: run(loader(labels=X[:, 0]), model=Dense(8, 1).initialize(0), loss=MeanSquaredError(),
                    validation=validation(labels=np.full(40, 1e25))))  # fmt: skip
refused("a fill value for missing numbers", "train: sample 5 has 9.96.* at .*, too large to compute",
        lambda: run(loader(with_one(X, 9.96921e36, 5 * 8), shuffle=False)))  # fmt: skip
refused("rows of probabilities, of which one is missing", "got nan or infinity in 1 samples, first",
        lambda: run(loader(labels=with_one(np.eye(3)[LABELS], NAN, 3))))  # fmt: skip
refused("a table of pandas", "DataLoader: array 0: .* got DataFrame; convert it with numpy.asarray",
        lambda: loader(pd.DataFrame(X)))  # fmt: skip
refused("a set of labels, which has no order", r"DataLoader: array 1: .* got set$",
        lambda: loader(labels=set(range(96))))  # fmt: skip
refused("no labels", "DataLoader: array 1: .* got NoneType$", lambda: loader(labels=None))
refused("shuffle as a text", "expected shuffle, True or False, got 'no'",
        lambda: loader(shuffle="no"))  # fmt: skip
refused("more samples than labels", r"expected arrays of one length, at least 1, got lengths \[96,",
        lambda: run(loader(labels=LABELS[:95])))  # fmt: skip
refused("numbers as targets of a loss for classes", "to predict numbers use MeanSquaredError",
        lambda: run(loader(labels=X[:, 0])))  # fmt: skip


@situation("one class missing in a batch")
def one_class_missing():
    order = np.argsort(LABELS)  # whole batches of one class
    finite(run(loader(X[order], LABELS[order], shuffle=False, batch=16), class_weight="balanced"))


@situation("one class missing in all of the data, with balanced weights")
def one_class_missing_everywhere():
    some = LABELS != 2
    finite(run(loader(X[some], LABELS[some]), class_weight="balanced"))


@situation("only one class in the data")
def only_one_class():
    metrics = [Accuracy(), BalancedAccuracy(), F1()]
    history = run(loader(labels=np.zeros(96, int)), metrics=metrics, class_weight="balanced")
    finite(history)
    assert history.acc_train.iloc[-1] <= 1


@situation("a class in the validation data that training has never seen")
def unseen_class():
    some = LABELS != 2
    finite(run(loader(X[some], LABELS[some]), validation=validation()))


@situation("another loss's targets in the validation data", "expected labels of shape")
def other_targets():
    run(validation=validation(labels=np.ones((40, 2))))


# --- Weights -------------------------------------------------------------------------------------

refused("weights all 0", "train, weights: expected a weight above 0 for some sample, got 0 for all",
        lambda: run(loader(X, LABELS, np.zeros(96))))  # fmt: skip
refused("weights of the validation data all 0", "validation, weights: expected a weight above 0",
        lambda: run(validation=validation(*OTHERS, np.zeros(40))))  # fmt: skip
refused("a negative weight", "expected finite weights of at least 0, got -1",
        lambda: run(loader(X, LABELS, weights(-1))))  # fmt: skip
refused("a weight of nan", "expected finite weights of at least 0, got nan",
        lambda: run(loader(X, LABELS, weights(NAN))))  # fmt: skip
refused("weights as a column", r"expected weights of shape \(96,\), got \(96, 1\); use weights.ra",
        lambda: run(loader(X, LABELS, weights()[:, None])))  # fmt: skip
refused("class weights in the place of sample weights", "expected arrays of one length",
        lambda: run(loader(X, LABELS, np.ones(3))))  # fmt: skip
refused("class_weight as an array", r"got ndarray; write .* or dict\(enumerate\(weights\)\)",
        lambda: run(class_weight=np.ones(3)))  # fmt: skip
refused("class_weight as a Series", "expected class_weight to be 'balanced' or .*, got Series; write",
        lambda: run(class_weight=pd.Series([1.0, 2.0, 3.0])))  # fmt: skip
refused("class_weight for a class that is not there", r"for classes in 0\.\.2, got 3",
        lambda: run(class_weight={3: 2.0}))  # fmt: skip
refused("class_weight of names", "expected a class in class_weight of type int, got 'cat'",
        lambda: run(class_weight={"cat": 2.0}))  # fmt: skip
refused("class_weight all 0", "expected a class_weight above 0 for some sample, got 0 for all",
        lambda: run(class_weight={0: 0, 1: 0, 2: 0}))  # fmt: skip
refused("class_weight for a regression", "expected a loss for classes with class_weight",
        lambda: run(loader(labels=X[:, :1]), model=Dense(8, 1).initialize(0),
                    loss=MeanSquaredError(), class_weight="balanced"))  # fmt: skip
refused("class_weight='balance'", "expected class_weight to be 'balanced' or weights by class",
        lambda: run(class_weight="balance"))  # fmt: skip


@situation("all weights of one batch are 0")
def a_batch_of_weight_0():
    history = run(loader(X, LABELS, weights(*[0] * 32), shuffle=False))
    finite(history)


@situation("a sample that is nan has the weight 0 (without batch norm)")
def nan_of_weight_0():
    # Its outputs are nan, and so is the product of its 0 with them in the gradient of the weights.
    with pytest.raises(DivergedError, match=r"sample 0 has nan at .*leave it out"):
        run(loader(with_one(X, NAN), LABELS, weights(0), shuffle=False),
            model=Dense(8, 3).initialize(0))  # fmt: skip


class Unweighted(Loss):
    """A loss of a user's own that knows no weights."""

    def forward(self, y, t):
        self.saved = y
        return (y * y).mean()

    def backward(self):
        y = self.take_saved()
        return 2 * y / y.size


refused("weights with a loss of one's own that takes none",
        r"Unweighted: expected a loss that takes weights .*; write forward\(self, outputs, targets",
        lambda: run(loader(X, LABELS, weights()), loss=Unweighted()))  # fmt: skip
refused("class weights with a loss of one's own that takes none", "Unweighted: expected a loss tha",
        lambda: run(loss=Unweighted(), class_weight={0: 2.0}))  # fmt: skip


# --- Metrics -------------------------------------------------------------------------------------


def raising(predictions, targets):
    raise ZeroDivisionError("no positives")


def mean(predictions, targets):
    return (predictions == targets).mean()


@situation("a metric that raises")
def metric_raises():
    with pytest.raises(ZeroDivisionError, match="no positives") as caught:
        run(metrics=[raising])
    assert caught.value.__notes__ == ["raised by the metric raising"]


def as_list(predictions, targets):
    return [1.0] * len(predictions)


def as_text(predictions, targets):
    return np.full(len(predictions), "good")


def as_complex(predictions, targets):
    return np.ones(len(predictions), complex)


refused("a metric that returns a list", "as_list: .*got list; return an array, such as",
        lambda: run(metrics=[as_list]))  # fmt: skip
refused("a metric that returns texts", r"as_text: .*got <U4 \(96,\); return an array, such as",
        lambda: run(metrics=[as_text]))  # fmt: skip
refused("a metric that returns complex numbers", r"got complex128 \(96,\); return an array",
        lambda: run(metrics=[as_complex]))  # fmt: skip
refused("a metric twice", "leave one out, or give a function another name",
        lambda: run(metrics=[Accuracy(), Accuracy()]))  # fmt: skip
refused("a metric that averages a batch itself", "mean: expected a metric that returns a number fo",
        lambda: run(metrics=[mean]))  # fmt: skip
refused("a metric by name", r"expected metrics such as Accuracy\(\), or functions, got 'accuracy'",
        lambda: run(metrics=["accuracy"]))  # fmt: skip
refused("a metric's class", r"write metrics=\[F1\(\)\]", lambda: run(metrics=[F1]))
refused("a metric in the place of a list", "expected metrics to be a list",
        lambda: run(metrics=Accuracy()))  # fmt: skip
refused("accuracy of a regression", r"expected a loss for classes with Accuracy\(\), got one for n",
        lambda: run(loader(labels=X[:, :1]), model=Dense(8, 1).initialize(0),
                    loss=MeanSquaredError(), metrics=[Accuracy()]))  # fmt: skip


@situation("R2 of targets that are all equal is nan or -inf, and training goes on")
def r2_of_equal_targets():
    history = run(loader(labels=np.ones((96, 1), np.float32)), model=Dense(8, 1).initialize(0),
                  loss=MeanSquaredError(), metrics=[R2()])  # fmt: skip
    assert len(history) == 2
    assert not np.isfinite(history.r2_train).any()
    assert np.isfinite(history.loss_train).all()


# --- Callbacks -----------------------------------------------------------------------------------


@situation("a callback that raises in the middle keeps the history and its message")
def callback_raises():
    with pytest.raises(KeyError, match="cannot write the log") as caught:
        run(epochs=5, on_epoch=fails_after(3))
    assert len(caught.value.history) == 3
    assert caught.value.__notes__ == [
        "fit: raised by on_epoch",
        "fit: raised after 3 epochs, which error.history has",
    ]


@situation("a callback that raises between two steps")
def callback_raises_in_a_step():
    def step(epoch, step):
        if (epoch, step) == (2, 2):
            fails()

    with pytest.raises(KeyError) as caught:
        run(epochs=5, callbacks=[Only(on_step=step)])
    assert len(caught.value.history) == 1


@situation("a callback that raises, with a checkpoint: it is resumed before that epoch")
def callback_raises_with_checkpoint(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(KeyError):
        run(epochs=4, checkpoint=Checkpoint(path), on_epoch=fails_after(3))
    resumed = run(epochs=4, checkpoint=Checkpoint(path, resume=True))
    np.testing.assert_array_equal(resumed.to_numpy(), run(epochs=4).to_numpy())


refused("a callback's class", r"expected objects as callbacks, got the class Only; write Only\(",
        lambda: run(callbacks=[Only]))  # fmt: skip
refused("one callback in the place of a list", r"write callbacks=\[\.\.\.\]",
        lambda: run(callbacks=EarlyStopping("loss_train", 2)))  # fmt: skip
refused("a function among the callbacks", r"pass a function as on_epoch=\.\.\.",
        lambda: run(callbacks=[print]))  # fmt: skip
refused("a callback of another library's protocol", "expected a callback with on_begin, on_losses",
        lambda: run(callbacks=[Only(on_epoch_end=print)]))  # fmt: skip
refused("a callback with state but without restore", "got state alone; write both",
        lambda: run(callbacks=[Only(on_epoch=print, state=dict)]))  # fmt: skip
refused("patience 0", "expected patience of at least 1, got 0; with 1 it stops after the first",
        lambda: EarlyStopping("loss_train", 0))  # fmt: skip
refused("a monitor with another library's name", r"got 'val_loss'; monitor one of them",
        lambda: run(callbacks=[EarlyStopping("val_loss", 2)], validation=validation()))  # fmt: skip
refused("a monitor of the validation data, without any", r"or pass validation=\.\.\. to fit",
        lambda: run(callbacks=[EarlyStopping("loss_validation", 2)]))  # fmt: skip


refused("mode='min' as another library has it", "larger_is_better, True or False, got 'min'",
        lambda: EarlyStopping("loss_train", 2, larger_is_better="min"))  # fmt: skip


@situation("early stopping by a number that fit computes after each third epoch only")
def rarely_evaluated():
    stopping = EarlyStopping("loss_train", 1)
    history = run(epochs=6, evaluate_train=3, callbacks=[stopping])
    assert (len(history), stopping.best) == (6, history.loss_train.min())


@situation("early stopping before the first improvement: the monitored number is always nan")
def always_nan():
    stopping = EarlyStopping("r2_train", 2)
    with np.errstate(all="ignore"):
        history = run(
            loader(labels=np.zeros((96, 1), np.float32)), model=zero_model(), epochs=9,
            loss=MeanSquaredError(), metrics=[R2()], callbacks=[stopping],
        )  # fmt: skip
    assert (len(history), history.attrs["stopped"], stopping.best) == (2, True, None)


def zero_model():
    model = Dense(8, 1).initialize(0)
    for p in model.parameters():
        p.data[...] = 0
    return model


@situation("on_epoch returns a number of bytes, as print to a file would")
def returns_a_number():
    assert len(run(epochs=3, on_epoch=lambda history: 17)) == 3


@situation("on_epoch returns numpy's True, from a comparison of the history's numbers")
def returns_numpys_true():
    history = run(epochs=9, on_epoch=lambda history: history.acc_train.iloc[-1] >= 0)
    assert (len(history), history.attrs["stopped"]) == (1, True)


# --- Data for evaluation -------------------------------------------------------------------------

refused("nan only in the validation data", "the evaluation after epoch 1; validation: sample 0 has",
        lambda: run(validation=validation(with_one(OTHERS[0], NAN))))  # fmt: skip
refused("an empty validation part", "a fraction of its 96 samples that leaves some for training",
        lambda: run(validation=0.001))  # fmt: skip
refused(
    "all samples held out", "expected a fraction of its 96 samples", lambda: run(validation=1.0)
)
refused("a fraction in percent", "expected a fraction .*, got 10.0; write 0.1 for a tenth",
        lambda: run(validation=10))  # fmt: skip
refused("a fraction of data in the order of a file", "expected a loader with shuffle=True, whose s",
        lambda: run(loader(shuffle=False), validation=0.1))  # fmt: skip
refused("an array of samples as validation", "expected validation to be a DataLoader, a fraction",
        lambda: run(validation=OTHERS))  # fmt: skip
refused("an empty array of validation samples", "expected arrays of one length, at least 1",
        lambda: run(validation=validation(OTHERS[0][:0], OTHERS[1][:0])))  # fmt: skip
refused("one number a sample, as a vector", r"got \(1,\); for one number a sample use x\[:, None\]",
        lambda: run(loader(X[:, 0]), model=Dense(1, 3).initialize(0)))  # fmt: skip
refused("images without Flatten", r"put Flatten\(\) first, and give the layer 8 inputs",
        lambda: run(loader(X.reshape(96, 2, 4)), model=Dense(4, 3).initialize(0)))  # fmt: skip
refused("validation and test together", "expected validation or test, got both",
        lambda: run(None, validation(), validation=validation()))  # fmt: skip
refused("validation samples of another width", "expected x of shape",
        lambda: run(validation=validation(OTHERS[0][:, :7])))  # fmt: skip
refused("a list as samples to predict", "predict: expected a NumPy or CuPy array, got list; convert",
        lambda: binary_model().predict(X.tolist()))  # fmt: skip
refused("validation samples scaled, training samples not", "expected x of dtype float32, got float64; use x.astype",
        lambda: run(validation=validation(OTHERS[0].astype(np.float64))))  # fmt: skip
refused("evaluate_train=0 for never", "at least 1, got 0; write 1 for after each epoch, or None",
        lambda: run(evaluate_train=0))  # fmt: skip
refused("evaluate_train=False for never", "got False; write 1 for after each epoch, or None for",
        lambda: run(evaluate_train=False))  # fmt: skip
refused("metrics, but nothing to evaluate", "data to evaluate metrics on, got none; pass validation",
        lambda: run(metrics=[F1()], evaluate_train=None))  # fmt: skip


@situation("validation samples of another width are named")
def validation_is_named():
    with pytest.raises(ValueError, match="expected x of shape") as caught:
        run(validation=validation(OTHERS[0][:, :7]))
    assert caught.value.__notes__[-1] == "raised for the first sample of fit: validation"


@situation("validation of one sample")
def one_validation_sample():
    finite(run(validation=validation(OTHERS[0][:1], OTHERS[1][:1])))


@situation("the training set again as validation data")
def training_set_again():
    data = loader()
    history = run(data, validation=data)
    np.testing.assert_array_equal(history.loss_train, history.loss_validation)


# --- Batches -------------------------------------------------------------------------------------


def batches(epoch):
    yield from loader().batches(epoch)


def ends_early(epoch):
    return list(batches(epoch))[: 3 - epoch]


@situation("a generator that ends early, in the second epoch")
def generator_ends_early():
    match = "expected 3 batches in epoch 1, got 2; make length the number"
    with pytest.raises(ValueError, match=match) as caught:
        run(IterableLoader(ends_early, 3), epochs=3, evaluate_train=None)
    assert len(caught.value.history) == 1


@situation("a generator that never ends")
def generator_never_ends():
    def endless(epoch):
        while True:
            yield from batches(epoch)

    finite(run(IterableLoader(endless, 4), evaluate_train=None))


@situation("a generator that raises in the middle")
def generator_raises():
    def broken(epoch):
        yield next(batches(0))
        fails()

    with pytest.raises(KeyError, match="cannot write the log") as caught:
        run(IterableLoader(broken, 3), evaluate_train=None)
    assert caught.value.__notes__ == ["fit: raised after 1 of 3 batches of epoch 1"]


refused("a generator in the place of a function", "got generator, which can be gone through once",
        lambda: run(IterableLoader(batches(0), 3)))  # fmt: skip
refused("a generator without a length", r"function has no len\(\)",
        lambda: run(IterableLoader(batches)))  # fmt: skip
refused("a generator without its yield", "got NoneType; yield the batches, or return a list",
        lambda: run(IterableLoader(lambda epoch: None, 3)))  # fmt: skip
refused("a generator's function without an argument", "give it one argument, such as epoch",
        lambda: run(IterableLoader(lambda: batches(0), 3)))  # fmt: skip
refused("a batch without labels", r"epoch 0, batch 0: expected \(x, targets\) or .*, got ndarray",
        lambda: run(IterableLoader([X])))  # fmt: skip
refused("a dict as a batch", "got dict", lambda: run(IterableLoader([{"x": X, "y": LABELS}])))
refused("labels from 1 in a later batch of a generator", r"expected labels in 0\.\.2, got 3",
        lambda: run(IterableLoader([(X, LABELS), (X, LABELS + 1)]), evaluate_train=None))  # fmt: skip
refused("balanced weights of a generator", "expected all labels in memory for class_weight='balanc",
        lambda: run(IterableLoader(batches, 3), class_weight="balanced"))  # fmt: skip
refused("a fraction of a generator", "expected a DataLoader, to hold out 0.1 of it",
        lambda: run(IterableLoader(batches, 3), validation=0.1))  # fmt: skip
refused("a generator and a checkpoint every 10 minutes",
        r"expected batches with state\(\) and restore\(state\), to continue inside an epoch",
        lambda tmp_path: run(IterableLoader(batches, 3), evaluate_train=None,
                             checkpoint=Checkpoint(tmp_path / "run", "10min")))  # fmt: skip
refused("arrays in the place of a loader", r"make one: DataLoader\(\(x, labels\), batch_size\)",
        lambda: run((X, LABELS)))  # fmt: skip
refused("a last batch of one sample, with batch norm", "expected at least 2 values .* drop_last=Tr",
        lambda: run(loader(X[:65], LABELS[:65])))  # fmt: skip
refused("an augmentation that scales bytes", "expected augment to return 32 samples of float32",
        lambda: run(loader(augment=lambda x, rng: x.astype(np.float64))))  # fmt: skip
refused("an augmentation for images, of a table", r"expected images of shape .*, got \(32, 8\)",
        lambda: run(loader(augment=Cutout(2))))  # fmt: skip
refused("an augmentation without a seed", "expected rng, .* with augment",
        lambda: run(loader(augment=Cutout(2), shuffle=False, rng=None)))  # fmt: skip


@situation("a batch larger than the data")
def large_batch():
    finite(run(loader(batch=1000)))


@situation("a kept batch changed by a callback does not change the data")
def changed_batch():
    data = loader()
    for x, _ in data:
        x[...] = 0
    np.testing.assert_array_equal(data.arrays[0], X)


# --- Steps ---------------------------------------------------------------------------------------

refused("nan in one training sample", "epoch 1, batch 1, .*train: sample 5 has nan at",
        lambda: run(loader(with_one(X, NAN, 5 * 8), shuffle=False)))  # fmt: skip
refused("inf in one training sample", "train: sample 5 has inf",
        lambda: run(loader(with_one(X, float("inf"), 5 * 8), shuffle=False)))  # fmt: skip
refused("a learning rate that is too large", "try a smaller learning rate|an update overflowed",
        lambda: run(model=Dense(8, 3).initialize(0), optimizer=lambda p: SGD(p, 1e38)))  # fmt: skip
refused("clip_norm=0 for none", "expected clip_norm to be a positive number, got 0",
        lambda: run(clip_norm=0))  # fmt: skip
refused("clip_norm of nan", "expected clip_norm to be a positive number, got nan",
        lambda: run(clip_norm=NAN))  # fmt: skip
refused("nan in a sample, and clipping", "train: sample 5 has nan at",
        lambda: run(loader(with_one(X, NAN, 5 * 8), shuffle=False), clip_norm=1.0))  # fmt: skip
refused("weight decay that flips the weights' signs", "learning_rate . weight_decay of at most 1",
        lambda: run(optimizer=lambda p: AdamW(p, 1.0, weight_decay=1.5)))  # fmt: skip
refused("warm-up of no steps", "expected a positive length, got 0", lambda: WarmUp(0.1, 0))
refused("a schedule's class", "got the class Cosine; write an object such as",
        lambda: WarmUp(Cosine, 10))  # fmt: skip
refused("a loss by name", r"got 'mse'; write an object such as LogitCrossEntropy\(\)",
        lambda: run(loss="mse"))  # fmt: skip
refused("an optimiser by name", r"got 'adam'; write an object such as Adam\(model.parameters\(\)\)",
        lambda: run(optimizer=lambda p: "adam"))  # fmt: skip
refused("an optimiser of another model", "the optimiser holds none of the model's parameters",
        lambda: run(optimizer=lambda p: Adam(binary_model().parameters())))  # fmt: skip
refused("no epochs", "expected at least 1 epoch, got 0", lambda: run(epochs=0))


@situation("gradients of 0 and clipping")
def no_gradients():
    class Flat(Loss):
        def forward(self, y, t):
            self.saved = y
            return y.sum() * 0

        def backward(self):
            return self.take_saved() * 0

    finite(run(loss=Flat(), clip_norm=1.0))


@situation("a rate of 0 at the end of a schedule, with decay and warm-up")
def rate_of_0():
    schedule = WarmUp(Cosine(0.01, 0.0, length=2), 2)
    finite(run(optimizer=lambda p: AdamW(p, schedule, weight_decay=0.1)))
    finite(run(optimizer=lambda p: AdamW(p, WarmUp(Constant(0.01), 100))))


@situation("a program in which NumPy raises at every underflow")
def numpy_raises():
    with np.errstate(all="raise"):
        m = Dense(8, 1).initialize(0)
        data = loader(X * 1000, (LABELS > 0).astype(int))
        optimizer = SGD(m.parameters(), 10.0)
        finite(fit(m, data, loss=BinaryCrossEntropy(), optimizer=optimizer, epochs=2))


@situation("one output for two classes")
def one_output():
    history = run(loader(labels=(LABELS > 0).astype(int)), model=Dense(8, 1).initialize(0),
                  loss=BinaryCrossEntropy(), class_weight="balanced", validation=0.2,
                  metrics=[Accuracy(), F1()])  # fmt: skip
    finite(history)


@situation("fit is called again after it has stopped early")
def again():
    model, data = binary_model(), loader()
    optimizer, stopping = Adam(model.parameters(), 1e-2), EarlyStopping("loss_train", 1)
    options = {"loss": LogitCrossEntropy(), "optimizer": optimizer, "callbacks": [stopping]}
    first = fit(model, data, epochs=50, **options)
    assert first.attrs["stopped"]
    best = evaluate(model, data, LogitCrossEntropy()).loss
    assert best == pytest.approx(first.loss_train.min(), rel=1e-6)
    assert len(fit(model, data, epochs=3, **options)) >= 1


@situation("a training that has stopped early is resumed with more epochs: it stays stopped")
def resumed_after_stopping(tmp_path):
    path, stop = tmp_path / "run", lambda history: len(history) == 2
    first = run(epochs=4, checkpoint=Checkpoint(path), on_epoch=stop)
    then = run(epochs=9, checkpoint=Checkpoint(path, resume=True), on_epoch=stop)
    assert len(first) == len(then) == 2
    assert then.attrs["stopped"]


@situation("a checkpoint is resumed with another metric: refused, and nothing has changed")
def resumed_with_another_metric(tmp_path):
    run(checkpoint=Checkpoint(tmp_path / "run"))
    model = binary_model()
    before = [p.data.copy() for p in model.parameters()]
    with pytest.raises(CheckpointError, match="acc_train then, f1_train now; resume with the same"):
        run(model=model, checkpoint=Checkpoint(tmp_path / "run", resume=True), metrics=[F1()])
    after = [p.data for p in model.parameters()]
    assert all(map(np.array_equal, before, after))


@situation("a step after the backward of the loss, without the model's")
def no_backward_of_the_model():
    model, loss = binary_model(), LogitCrossEntropy()
    optimizer = Adam(model.parameters(), 1e-2)
    loss.forward(model.forward(X, train=True), LABELS)
    loss.backward()
    with pytest.raises(
        RuntimeError, match=r"write model.backward\(loss.backward\(\)\) before each"
    ):
        optimizer.step()


@situation("an augmentation that raises is named")
def augmentation_raises():
    with pytest.raises(KeyError, match="cannot write the log") as caught:
        run(loader(augment=fails))
    assert "DataLoader: raised by augment" in caught.value.__notes__


@situation("a checkpoint of a training without clipping is resumed with it")
def resumed_with_another_setting(tmp_path):
    run(checkpoint=Checkpoint(tmp_path / "run"))
    with pytest.raises(CheckpointError, match=r"clip_norm: None then, 1\.0 now"):
        run(checkpoint=Checkpoint(tmp_path / "run", resume=True), clip_norm=1.0)


def told(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


@pytest.mark.parametrize("case", SITUATIONS, ids=lambda case: case.what)
def test_it_ends_in_a_value_or_in_one_clear_sentence(case, tmp_path):
    needs_folder = "tmp_path" in case.act.__code__.co_varnames[: case.act.__code__.co_argcount]
    outcome = contextlib.nullcontext()
    if case.raises is not None:
        kinds = (ValueError, TypeError, DivergedError, ArithmeticError)
        outcome = pytest.raises(kinds, match=case.raises)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with outcome as caught:
            case.act(*[tmp_path] * needs_folder)
    if case.raises is not None:
        assert not isinstance(caught.value, UnicodeError)
        assert "Traceback" not in told(caught.value)
        sentence = str(caught.value).splitlines()[0]
        assert len(sentence) < 400, sentence


def test_there_are_sixty_of_them():
    assert len(SITUATIONS) >= 60
    assert len({case.what for case in SITUATIONS}) == len(SITUATIONS)
