"""The advice of `fit`'s options, loaders, callbacks and metrics: followed."""

from __future__ import annotations

import numpy as np
import pytest
from advice import advised

from minibnn import (
    F1,
    R2,
    SGD,
    Accuracy,
    AdamW,
    Checkpoint,
    Cutout,
    DataLoader,
    Dense,
    EarlyStopping,
    IterableLoader,
    LogitCrossEntropy,
    MeanSquaredError,
    clip_gradients,
    evaluate,
    fit,
)
from minibnn.losses import Metric, Regression

RNG = np.random.default_rng(0)
X, LABELS = RNG.standard_normal((40, 4)).astype(np.float32), RNG.integers(0, 3, 40)
LOSS = LogitCrossEntropy()


def loader(*more, labels=LABELS, **options):
    return DataLoader((X, labels, *more), 10, **{"shuffle": True, "rng": 1, **options})


def trained(train=None, *given, model=None, loss=LOSS, epochs=2, **options):
    model = model or Dense(4, 3).initialize(0)
    optimizer = SGD(model.parameters(), 0.1)
    return fit(model, train or loader(), *given, loss=loss, optimizer=optimizer, epochs=epochs,
               progress=False, **options)  # fmt: skip


# --- Loaders -------------------------------------------------------------------------------------


def test_a_part_is_held_out():
    with advised("data/loader.py", "write 0.1 for a tenth"):
        loader().split(10)
    assert loader().split(0.1)[1].samples == 4
    with advised("data/loader.py", "cut the arrays yourself, and make two loaders"):
        loader(shuffle=False).split(0.1)
    parts = [DataLoader((X[rows], LABELS[rows]), 10) for rows in (slice(36), slice(36, None))]
    assert [part.samples for part in parts] == [36, 4]
    with advised("training/fit.py", "give validation a loader of its own"):
        trained(IterableLoader([(X, LABELS)]), validation=0.1)
    assert len(trained(IterableLoader([(X, LABELS)]), validation=parts[1])) == 2


def test_augmentations_keep_number_and_dtype():
    with advised("data/loader.py", "write an object such as Cutout(8)"):
        loader(augment=Cutout)
    images = np.zeros((40, 8, 8), np.uint8)
    data = DataLoader((images, LABELS), 10, rng=0, augment=Cutout(8))
    assert len(list(data)) == 4
    data = DataLoader((images, LABELS), 10, rng=0, augment=lambda x, rng: x / 2)
    with advised("data/loader.py", "return as many, of the same dtype"):
        next(iter(data))
    data = DataLoader((images, LABELS), 10, rng=0, augment=lambda x, rng: x // 2)
    assert next(iter(data))[0].dtype == np.uint8
    rows = images.reshape(40, 64)
    with advised("data/augment.py", "reshape them before the loader gets them"):
        next(iter(DataLoader((rows, LABELS), 10, rng=0, augment=Cutout(2))))
    data = DataLoader((rows.reshape(40, 8, 8), LABELS), 10, rng=0, augment=Cutout(2))
    assert next(iter(data))[0].shape == (10, 8, 8)


def test_a_fill_is_a_value_of_the_images():
    x, rng = np.zeros((3, 8, 8), np.uint8), np.random.default_rng(0)
    with advised("data", "use a whole number from {} to {}"):
        Cutout(2, fill=0.5)(x, rng)
    assert Cutout(2, fill=128)(x, rng).max() == 128


def read(epoch):
    for first in range(0, 40, 10):
        yield X[first : first + 10], LABELS[first : first + 10]


def test_iterables_begin_anew_and_have_a_length():
    with advised(
        "data/iterable.py",
        "pass the function that makes it, of the epoch's number: IterableLoader(lambda epoch: ..., "
        "length)",
    ):
        IterableLoader(read(0), 4)
    with advised("data/iterable.py", "write IterableLoader(lambda epoch: ..., length)"):
        IterableLoader(4, 4)
    with advised("data/iterable.py", "write IterableLoader(batches, length)"):
        IterableLoader(read)
    assert [len(list(IterableLoader(lambda epoch: read(epoch), 4))) for _ in range(2)] == [4, 4]

    def forgets(epoch):
        read(epoch)

    with advised("data/iterable.py", "yield the batches, or return a list of them"):
        list(IterableLoader(forgets, 4))
    assert len(list(IterableLoader(read, 4))) == 4
    with advised("data/iterable.py", "make length the number of batches that every epoch has"):
        list(IterableLoader(read, 5))
    assert len(list(IterableLoader(read, 4))) == 4
    with advised("data/iterable.py", "give it one argument, such as epoch"):
        IterableLoader(lambda: read(0), 4)
    assert len(list(IterableLoader(lambda epoch: read(0), 4))) == 4
    with advised("data/iterable.py", "yield the batches, or return a list of them"):
        list(IterableLoader(lambda epoch: None, 4))
    assert len(list(IterableLoader(lambda epoch: list(read(epoch)), 4))) == 4


def test_iterables_are_saved_at_the_end_of_epochs_or_have_a_state(tmp_path):
    path = str(tmp_path / "run")
    with advised(
        "data/iterable.py",
        "write both, or save at the end of epochs only: Checkpoint(..., every='1epoch')",
    ):
        trained(IterableLoader(read, 4), evaluate_train=None, checkpoint=Checkpoint(path, "2steps"))

    class Reading:
        at = 0

        def __iter__(self):
            self.at %= 40
            while self.at < 40:
                self.at += 10
                yield X[self.at - 10 : self.at], LABELS[self.at - 10 : self.at]

        def state(self):
            return {"at": self.at}

        def restore(self, state):
            self.at = state["at"]

    for batches, every in ((read, "1epoch"), (Reading(), "2steps")):
        data = IterableLoader(batches, 4)
        checkpoint = Checkpoint(path + every, every)
        assert len(trained(data, evaluate_train=None, checkpoint=checkpoint)) == 2


# --- Weights, evaluation -------------------------------------------------------------------------


def test_weights_are_positive_somewhere():
    with advised("training/evaluate.py", "give the samples to learn a positive weight"):
        trained(loader(np.zeros(40)))
    assert len(trained(loader(np.arange(40)))) == 2
    with advised("training/class_weights.py", "give the classes to learn a positive weight"):
        trained(class_weight=dict.fromkeys(range(3), 0))
    assert len(trained(class_weight={0: 1, 1: 0, 2: 0})) == 2


def test_weights_of_classes():
    weights = np.array([1.0, 5.0, 1.0])
    with advised(
        "training/class_weights.py",
        "write class_weight={0: 1.0, 1: 5.0}, or dict(enumerate(weights))",
    ):
        trained(class_weight=weights)
    same = [trained(class_weight=w) for w in ({1: 5.0}, dict(enumerate(weights)))]
    np.testing.assert_array_equal(*same)
    with advised("training/class_weights.py", "give the weights: class_weight={0: 1.0, 1: 5.0}"):
        trained(IterableLoader(read, 4), class_weight="balanced", evaluate_train=None)
    for train in (loader(), IterableLoader(read, 4)):
        found = trained(train, class_weight={0: 1.0, 1: 5.0}, evaluate_train=None)
        assert found.loss.notna().all()
    with advised("training/class_weights.py", "classes are counted from 0"):
        trained(class_weight={1: 1.0, 2: 2.0, 3: 3.0})
    assert len(trained(class_weight={0: 1.0, 1: 2.0, 2: 3.0})) == 2
    with advised("training/class_weights.py", "a rare class has a large weight"):
        trained(class_weight={1: -5.0})
    assert len(trained(class_weight={1: 5.0})) == 2
    numbers = {"model": Dense(4, 1).initialize(0), "loss": MeanSquaredError()}
    targets = X[:, :1]
    with advised(
        "training/class_weights.py",
        "give weights of samples instead: DataLoader((x, targets, weights), batch_size)",
    ):
        trained(loader(labels=targets), class_weight="balanced", **numbers)
    assert len(trained(DataLoader((X, targets, np.ones(40)), 10), **numbers)) == 2


def test_what_is_evaluated():
    with advised("training/evaluations.py", "write 1 for after each epoch, or None for never"):
        trained(evaluate_train=False)
    assert "loss_train" in trained(evaluate_train=1)
    assert "loss_train" not in trained(evaluate_train=None)
    with advised("training/fit.py", "pass validation=0.1, or leave evaluate_train at 1"):
        trained(evaluate_train=None, metrics=[F1()])
    assert "f1_train" in trained(evaluate_train=1, metrics=[F1()])
    assert "f1_validation" in trained(evaluate_train=None, metrics=[F1()], validation=0.1)
    with advised(
        "training/fit.py",
        "evaluate on the other one after training: evaluate(model, test, loss)",
    ):
        trained(None, loader(), validation=loader())
    model, test = Dense(4, 3).initialize(0), loader()
    trained(model=model, validation=loader())
    assert evaluate(model, test, LOSS).loss > 0
    with advised("training/fit.py", "make one: DataLoader((x, labels), batch_size)"):
        trained(validation=(X, LABELS))
    assert len(trained(validation=DataLoader((X, LABELS), 10))) == 2


# --- Callbacks -----------------------------------------------------------------------------------


class Noting:
    def __init__(self):
        self.lengths = []

    def on_epoch(self, history):
        self.lengths.append(len(history))


def test_callbacks_are_objects_in_a_list():
    noting = Noting()
    with advised("training/callbacks.py", "write callbacks=[...]"):
        trained(callbacks=noting)
    with advised("training/callbacks.py", "give objects as callbacks=[...]"):
        trained(on_epoch=noting)
    trained(callbacks=[noting])
    with advised("training/callbacks.py", "write {}(...)"):
        trained(callbacks=[Noting])
    trained(callbacks=[Noting(*())])
    with advised("training/callbacks.py", "pass a function as on_epoch=..."):
        trained(callbacks=[noting.on_epoch])
    trained(on_epoch=noting.on_epoch)
    assert noting.lengths == [1, 2, 1, 2]


def test_callbacks_have_a_method_and_both_of_a_state():
    class Own:
        pass

    with advised("training/callbacks.py", "give it one of them"):
        trained(callbacks=[Own()])
    Own.on_epoch = Own.state = lambda self, *_: {}
    with advised("training/callbacks.py", "write both, to resume with what it keeps"):
        trained(callbacks=[Own()])
    Own.restore = lambda self, state: None
    assert len(trained(callbacks=[Own()])) == 2


def test_early_stopping_monitors_a_column():
    with advised(
        "training/early_stopping.py", "write EarlyStopping('loss_validation', patience=5)"
    ):
        EarlyStopping(5, 5)
    stopping = EarlyStopping("loss_validation", patience=5)
    with advised(
        "training/early_stopping.py", "monitor one of them, or pass validation=... to fit"
    ):
        trained(callbacks=[stopping])
    trained(callbacks=[stopping], validation=loader())
    assert stopping.best is not None
    trained(callbacks=[EarlyStopping("loss_train", patience=5)])
    with advised(
        "training/early_stopping.py",
        "with 1 it stops after the first epoch without improvement",
    ):
        EarlyStopping("loss_train", patience=0)
    stopping = EarlyStopping("loss_train", 1, larger_is_better=True)
    assert len(trained(callbacks=[stopping], epochs=9)) == 2


def profit(predictions, targets):
    return (predictions == targets) * 3


def test_early_stopping_has_to_know_what_is_better():
    def run(**options):
        return trained(metrics=[profit], callbacks=[EarlyStopping("profit_train", 5, **options)])

    with advised("training/early_stopping.py", "write larger_is_better=True or False"):
        run()
    assert len(run(larger_is_better=True)) == 2


# --- Metrics -------------------------------------------------------------------------------------


def test_metrics_are_objects_or_named_functions_in_a_list():
    for given in (Accuracy(), "accuracy"):
        with advised("losses/chosen_metrics.py", "write metrics=[Accuracy()]"):
            trained(metrics=given)
    with advised("losses/chosen_metrics.py", "write metrics=[{}]"):
        trained(metrics=[Accuracy])
    assert "acc_train" in trained(metrics=[Accuracy()])
    with advised(
        "losses/chosen_metrics.py",
        "write it as a function: def distance(predictions, targets): ...",
    ):
        trained(metrics=[lambda predictions, targets: predictions - targets])

    def distance(predictions, targets):
        return predictions - targets

    assert "distance_train" in trained(metrics=[distance])
    with advised("losses/chosen_metrics.py", "leave one out, or give a function another name"):
        trained(metrics=[distance, distance])
    assert "acc_train" in trained(metrics=[Accuracy()])

    def other(predictions, targets):
        return distance(predictions, targets)

    assert "other_train" in trained(metrics=[distance, other])


def test_functions_give_a_number_for_each_sample():
    def share(predictions, targets):
        return (predictions == targets).mean()

    with advised(
        "losses/chosen_metrics.py", "leave out the mean, or derive it from minibnn.losses.Metric"
    ):
        trained(metrics=[share])

    def right(predictions, targets):
        return predictions == targets

    class Share(Metric):
        name = column = "share"

        def add(self, sums, task, outputs, targets, weights):
            sums[0] += (task.predict(outputs) == task.truth(targets)).sum()

    def of_texts(predictions, targets):
        return np.full(len(predictions), "right")

    def of_a_list(predictions, targets):
        return [abs(p - t) for p, t in zip(predictions, targets, strict=True)]

    def distance(predictions, targets):
        return abs(predictions - targets)

    for wrong in (of_texts, of_a_list):
        with advised("losses", "return an array, such as abs(predictions - targets)"):
            trained(metrics=[wrong])
    assert "distance_train" in trained(metrics=[distance])

    found = trained(metrics=[right, Share()])
    np.testing.assert_array_equal(found.right_train, found.share_train)


def test_a_loss_of_ones_own_says_how_many_numbers():
    class Own(MeanSquaredError):  # noqa: N818
        outputs = 1

        def task(self, outputs, targets=None, who=""):
            return Regression(self.outputs)

    def run():
        return trained(loader(labels=X[:, :3]), loss=loss, metrics=[R2()])

    loss = Own()
    with advised(
        "losses/chosen_metrics.py", "let the method task of your loss return Regression({})"
    ):
        run()
    loss.outputs = 3
    assert run().r2_train.notna().all()


# --- Optimisers ----------------------------------------------------------------------------------


def test_decay_and_clipping():
    layer = Dense(4, 3).initialize(0)
    with advised("optimizers/adamw.py", "use a smaller weight_decay"):
        AdamW(layer.parameters(), 1.0, weight_decay=2.0).step()
    AdamW(layer.parameters(), 1.0, weight_decay=0.2).step()
    optimizer = SGD(layer.parameters(), 1.0)
    with advised("optimizers/clipping.py", "without it, gradients keep their length"):
        clip_gradients(optimizer, 0)
    with pytest.raises(ValueError, match="expected clip_norm to be a positive number"):
        trained(clip_norm=0)
    assert len(trained()) == 2
