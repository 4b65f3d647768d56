"""Early stopping: when it stops, what it gives back, and its state."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from clusters import binary_model, clusters

from minibnn import Adam, Checkpoint, DataLoader, EarlyStopping, LogitCrossEntropy, fit
from minibnn.training.early_stopping import LARGER

COLUMN = "loss_validation"


def history_of(values, column=COLUMN):
    index = pd.RangeIndex(1, len(values) + 1, name="epoch")
    return pd.DataFrame({column: np.array(values, float)}, index=index)


def stops_after(values, stopping, column=COLUMN):
    """The number of epochs after which it stops a training with these values; None for never."""
    model = binary_model()
    stopping.on_begin(model, history_of([], column))
    for n in range(1, len(values) + 1):
        if stopping.on_epoch(history_of(values[:n], column)):
            return n
    return None


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "best"),
    [
        ([3, 2, 1], 1, None, 3),
        ([3, 2, 2.5, 1], 1, 3, 2),
        ([3, 2, 2.5, 1], 2, None, 4),
        ([3, 2, 2.5, 2.4, 2.3], 2, 4, 2),
        ([3, 3, 3], 2, 3, 1),  # equal is no improvement
        ([3, NAN, NAN], 2, 3, 1),
        ([NAN, 3, 2], 1, 1, 0),
        ([NAN, NAN, 3, 2], 3, None, 4),
        ([float("inf"), 3], 1, None, 2),
    ],
)
def test_it_stops_after_so_many_epochs_without_improvement(values, patience, epochs, best):
    stopping = EarlyStopping(COLUMN, patience)
    assert stops_after(values, stopping) == epochs
    assert stopping.best_epoch == best
    assert stopping.best == (None if not best else values[best - 1])


@pytest.mark.parametrize("patience", [1, 2])
def test_epochs_without_an_evaluation_do_not_count(patience):
    data = DataLoader(clusters(96, 1), 32, shuffle=True, rng=2)
    model = binary_model()
    stopping = EarlyStopping("acc_train", patience, larger_is_better=False)  # it only gets worse
    history = fit(
        model, data, loss=LogitCrossEntropy(), optimizer=Adam(model.parameters(), 1e-2),
        epochs=20, evaluate_train=3, callbacks=[stopping], progress=False,
    )  # fmt: skip
    assert (len(history), stopping.best_epoch) == (3 * (patience + 1), 3)


@pytest.mark.parametrize("name", ["restore_best", "larger_is_better"])
def test_a_text_is_no_bool(name):
    with pytest.raises(TypeError, match=f"expected {name}, True or False, got 'min'"):
        EarlyStopping("profit_test", 2, **{name: "min"})
    assert EarlyStopping("profit_test", 2, **{name: np.bool_(False)}).__dict__[name] is False


def test_larger_accuracies_and_smaller_losses_are_better():
    for stem, larger in LARGER.items():
        column = f"{stem}_test"
        up, down = [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]
        better, worse = (up, down) if larger else (down, up)
        assert stops_after(better, EarlyStopping(column, 1), column) is None
        assert stops_after(worse, EarlyStopping(column, 1), column) == 2
    assert stops_after([3, 2], EarlyStopping("loss", 1), "loss") is None
    own = EarlyStopping("profit_test", 1, larger_is_better=True)
    assert stops_after([1, 2, 1.5], own, "profit_test") == 3
    assert (
        stops_after([1, 2], EarlyStopping("acc_test", 1, larger_is_better=False), "acc_test") == 2
    )


def test_every_metric_has_a_direction():
    from minibnn.losses import Metric

    def below(cls):
        return {cls, *(c for sub in cls.__subclasses__() for c in below(sub))}

    ours = {c for c in below(Metric) if c.__module__.startswith("minibnn.")}
    columns = {c.column for c in ours if "column" in vars(c)}
    assert columns | {"loss"} == set(LARGER)


class Setting:
    """Sets the model's first weight to the number of the epoch."""

    def on_begin(self, model, history):
        self.model = model

    def on_epoch(self, history):
        self.model[0].weight.data[...] = len(history) / 10
        self.model[1].running_mean.data[...] = len(history)


def run(stopping, epochs=8, backend="cpu", **options):
    model = binary_model(backend)
    data = DataLoader(clusters(96, 1), 32, shuffle=True, rng=2)
    optimizer = Adam(model.parameters(), 1e-2)
    history = fit(
        model, data, validation=DataLoader(clusters(60, 3), 32), loss=LogitCrossEntropy(),
        optimizer=optimizer, epochs=epochs, callbacks=[Setting(), stopping], **options,
    )  # fmt: skip
    return model, history


class Scripted(EarlyStopping):
    """Sees these losses in the place of the real ones."""

    def __init__(self, values, *arguments):
        super().__init__(COLUMN, *arguments)
        self.values = values

    def on_epoch(self, history):
        return super().on_epoch(history.assign(loss_validation=self.values[: len(history)]))


@pytest.mark.parametrize("restore_best", [True, False])
def test_the_best_values_are_given_back(restore_best, backend):
    stopping = Scripted([3, 1, 2, 2, 0], 2, restore_best)
    model, history = run(stopping, backend=backend)
    assert (len(history), history.attrs["stopped"], stopping.best_epoch) == (4, True, 2)
    kept = 2 if restore_best else 4
    assert backend.to_host(model[0].weight.data).ravel()[0] == np.float32(kept / 10)
    assert backend.to_host(model[1].running_mean.data)[0] == kept


def test_the_best_values_are_given_back_also_when_the_epochs_run_out():
    stopping = Scripted([3, 1, 2, 2], 9)
    model, history = run(stopping, epochs=4)
    assert (len(history), history.attrs["stopped"]) == (4, False)
    assert model[0].weight.data.ravel()[0] == np.float32(0.2)


def test_another_call_of_fit_waits_anew_and_another_model_starts_anew():
    model = binary_model()
    stopping = EarlyStopping(COLUMN, 2)
    assert stops_after([3, 4, 5], stopping) == 3
    assert stopping.waited == 0
    stopping.on_begin(stopping._model, history_of([]))
    assert stopping.best == 3
    assert not stopping.on_epoch(history_of([4]))
    assert stopping.on_epoch(history_of([4, 5]))
    stopping.on_begin(model, history_of([]))
    assert (stopping.best, stopping.best_epoch, stopping._values) == (None, 0, [])


def test_values_that_were_changed_between_two_calls_of_fit_are_not_replaced_by_old_ones():
    model, stopping = binary_model(), EarlyStopping(COLUMN, 9)
    stopping.on_begin(model, history_of([]))
    stopping.on_epoch(history_of([1]))
    stopping.on_end(history_of([1]))
    stopping.on_begin(model, history_of([]))
    assert stopping.best == 1
    model.initialize(7)
    drawn = model[0].weight.data.copy()
    stopping.on_begin(model, history_of([]))
    assert (stopping.best, stopping.best_epoch) == (None, 0)
    stopping.on_epoch(history_of([2]))
    stopping.on_end(history_of([2]))
    np.testing.assert_array_equal(model[0].weight.data, drawn)


def test_epochs_after_which_the_training_set_is_not_evaluated_do_not_count():
    column = "acc_train"
    stopping = EarlyStopping(column, 2)
    stopping.on_begin(binary_model(), history_of([], column))
    acc, loss, stops = [], [], []
    for n in range(1, 12):
        acc.append(0.5 if n % 3 == 0 else NAN)
        loss.append(1.0 if n % 3 == 0 else NAN)
        history = history_of(acc, column).assign(loss_train=loss)
        if stopping.on_epoch(history):
            stops.append(n)
    assert stops == [9], "the best was after epoch 3"
    assert run(EarlyStopping("loss_train", 2), evaluate_train=3, epochs=7)[1].shape[0] == 7


@pytest.mark.parametrize("resumed_at", [1, 2, 3, 4])
def test_it_is_resumed_to_the_same_end(resumed_at, tmp_path):
    path = str(tmp_path / "run.safetensors")
    values = [3, 1, 2, 2, 0]
    whole, history = run(Scripted(values, 2))

    class EndedError(Exception):
        pass

    def ends(history):
        if len(history) == resumed_at:
            raise EndedError

    checkpoint = Checkpoint(path, "1epoch")
    if resumed_at > 1:  # what an epoch's callbacks do not survive is not saved
        with pytest.raises(EndedError):
            run(Scripted(values, 2), checkpoint=checkpoint, on_epoch=ends)
        checkpoint = Checkpoint(path, "1epoch", resume=True)
    stopping = Scripted(values, 2)
    again, found = run(stopping, checkpoint=checkpoint)
    pd.testing.assert_frame_equal(found, history, check_exact=True)
    assert (found.attrs, stopping.best_epoch) == (history.attrs, 2)
    np.testing.assert_array_equal(again[0].weight.data, whole[0].weight.data)
    np.testing.assert_array_equal(again[3].weight.data, whole[3].weight.data)


def test_the_state_has_copies(backend):
    stopping = EarlyStopping("acc_validation", 2)
    model = binary_model(backend)
    stopping.on_begin(model, history_of([], "acc_validation"))
    assert stopping.state() == {"best": None, "best_epoch": 0, "waited": 0, "values": None}
    stopping.on_epoch(history_of([0.5], "acc_validation"))
    state = stopping.state()
    before = state["values"]["0"].copy()
    model[0].weight.data[...] = 0
    other = EarlyStopping("acc_validation", 2)
    other.on_begin(model, history_of([], "acc_validation"))
    other.restore(state)
    other.on_end(history_of([0.5], "acc_validation"))
    np.testing.assert_array_equal(backend.to_host(model[0].weight.data), before)
    assert (other.best, other.best_epoch) == (0.5, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(COLUMN, 0), "patience of at least 1, got 0; with 1 it stops after"),
        (lambda: EarlyStopping(COLUMN, 1.5), "expected patience of type int"),
        (lambda: EarlyStopping(3, 3), "expected the name of a column, got 3"),
        (lambda: run(EarlyStopping("val_loss", 3)), r"\['loss_train', .*, got 'val_loss'; monitor"),
        (
            lambda: run(EarlyStopping("flips_0.weight", 3)),
            "whether larger is better for 'flips_0.weight', .*; write larger_is_better=True",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
