"""Callbacks: when each method is called, what stops, states, and what is refused."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
from clusters import binary_model, clusters

from minibnn import Adam, Checkpoint, DataLoader, EarlyStopping, LogitCrossEntropy, fit
from minibnn.training.callbacks import Callbacks


def run(callbacks=(), epochs=3, backend="cpu", batch=32, **options):
    model = binary_model(backend)
    data = DataLoader(clusters(96, 1), batch, shuffle=True, rng=2)
    optimizer = Adam(model.parameters(), 1e-2)
    return model, fit(
        model, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=epochs,
        callbacks=callbacks, **options,
    )  # fmt: skip


class Noting:
    """Notes each call."""

    def __init__(self, notes, name=""):
        self.notes, self.name = notes, name

    def on_begin(self, model, history):
        self.notes.append((self.name, "begin", type(model).__name__, len(history)))

    def on_epoch(self, history):
        self.notes.append((self.name, "epoch", len(history)))

    def on_step(self, epoch, step):
        self.notes.append((self.name, "step", epoch, step))

    def on_end(self, history):
        self.notes.append((self.name, "end", len(history)))


def test_each_method_is_called_in_its_turn():
    notes = []
    run([Noting(notes)], epochs=2, on_epoch=lambda history: notes.append(("f", len(history))))
    steps = [[("", "step", epoch, step) for step in (1, 2, 3)] for epoch in (1, 2)]
    assert notes == [
        ("", "begin", "Sequential", 0),
        *steps[0], ("", "epoch", 1), ("f", 1),
        *steps[1], ("", "epoch", 2), ("f", 2),
        ("", "end", 2),
    ]  # fmt: skip


class Losses:
    """Keeps the losses, and when they came."""

    def __init__(self):
        self.losses, self.order = [], []

    def on_losses(self, losses):
        self.losses.append(losses)
        self.order.append("losses")

    def on_epoch(self, history):
        self.order.append("epoch")


def test_the_losses_of_an_epochs_steps_come_before_its_row():
    one, two = Losses(), Losses()
    _, history = run([one, two], epochs=2, evaluate_train=2)
    assert one.order == ["losses", "epoch"] * 2
    for losses, mean in zip(one.losses, history["loss"], strict=True):
        assert losses.shape == (3,)
        assert losses.mean() == pytest.approx(mean)
        losses[:] = 0
    assert all(losses.all() for losses in two.losses), "each has its own"


def test_a_resumed_epoch_has_the_losses_of_all_its_steps(tmp_path):
    def fail(epoch, step):
        assert (epoch, step) != (2, 3)

    whole, first, second = Losses(), Losses(), Losses()
    run([whole], epochs=2)
    checkpoint = Checkpoint(tmp_path / "run", "1steps", resume=True)
    with pytest.raises(AssertionError):
        run([first, Only(on_step=fail)], epochs=2, checkpoint=checkpoint)
    run([second, Only(on_step=lambda epoch, step: None)], epochs=2, checkpoint=checkpoint)
    found = [a.tolist() for a in (*first.losses, *second.losses)]
    assert found == [a.tolist() for a in whole.losses]


class Only:
    def __init__(self, **methods):
        vars(self).update(methods)


@pytest.mark.parametrize("true", [True, np.True_])
def test_true_after_an_epoch_stops(true):
    notes = []
    first = Only(on_epoch=lambda history: true if len(history) == 2 else None)
    _, history = run([first, Noting(notes)], epochs=5)
    assert len(history) == 2
    assert history.attrs["stopped"]
    assert not history.attrs["interrupted"]
    assert ("", "epoch", 2) in notes, "all others are still called"
    assert notes[-1] == ("", "end", 2)
    _, history = run(epochs=5, on_epoch=lambda history: true if len(history) == 2 else None)
    assert (len(history), history.attrs["stopped"]) == (2, True)


@pytest.mark.parametrize("other", [1, "yes", [1], None, False, np.False_, pd.DataFrame()])
def test_no_other_result_stops(other):
    """A function may return a number of bytes, say, and mean nothing by it."""
    callbacks = [Only(on_epoch=lambda history: other, on_step=lambda epoch, step: other)]
    _, history = run(callbacks, on_epoch=lambda history: other)
    assert (len(history), history.attrs["stopped"]) == (3, False)
    callbacks = [Only(on_begin=lambda *_: True, on_end=lambda *_: True, on_step=lambda *_: None)]
    _, history = run(callbacks)
    assert (len(history), history.attrs["stopped"]) == (3, False)


def test_true_after_a_step_stops_with_the_history_of_complete_epochs():
    model, history = run([Only(on_step=lambda epoch, step: (epoch, step) == (2, 2))], epochs=5)
    assert (len(history), history.attrs["stopped"]) == (1, True)
    again, _ = run(epochs=1)
    assert (model[0].weight.data != again[0].weight.data).any(), "two more steps were made"
    # in the last step of an epoch it is complete
    _, history = run([Only(on_step=lambda epoch, step: (epoch, step) == (2, 3))], epochs=5)
    assert (len(history), history.attrs["stopped"]) == (2, True)


def test_each_on_epoch_has_a_history_of_its_own():
    def spoils(history):
        history.iloc[:] = 0

    lengths = []
    _, history = run([Only(on_epoch=spoils)], on_epoch=lambda h: lengths.append(h.iloc[-1, 0]))
    assert lengths == history.iloc[:, 0].tolist()
    assert min(lengths) > 0


def test_steps_with_on_step_are_not_captured(device):
    seen = []
    with pytest.warns(UserWarning, match="without a captured step: Only has on_step, which may"):
        model, history = run(
            [Only(on_step=lambda epoch, step: seen.append((epoch, step)))], backend=device,
            batch=8,
        )  # fmt: skip
    assert seen == [(e, s) for e in (1, 2, 3) for s in range(1, 13)]
    assert not history.attrs["captured"]
    plain, _ = run(backend=device, batch=8, capture=False)
    np.testing.assert_array_equal(
        device.to_host(model[0].weight.data), device.to_host(plain[0].weight.data)
    )


class Failing:
    def on_epoch(self, history):
        if len(history) == 2:
            raise OSError("disk full")


@pytest.mark.parametrize("kind", ["callback", "function"])
def test_an_error_is_raised_as_it_is_with_the_history(kind):
    options = {"callbacks": [Failing()]}
    if kind == "function":
        options = {"on_epoch": Failing().on_epoch}
    with pytest.raises(OSError, match="disk full") as caught:
        run(**options)
    who = "Failing.on_epoch" if kind == "callback" else "on_epoch"
    assert f"fit: raised by {who}" in caught.value.__notes__
    assert len(caught.value.history) == 2


# --- States --------------------------------------------------------------------------------------


class Keeping(Only):
    def state(self):
        return {"n": self.n}

    def restore(self, state):
        self.n = state["n"]


def test_states_are_kept_by_position():
    callbacks = Callbacks([Keeping(on_epoch=print, n=3), Only(on_epoch=print)])
    assert callbacks.keep
    assert callbacks.state() == {"0": {"n": 3}}
    callbacks.stopped = True
    assert callbacks.state() == {"stopped": 1, "0": {"n": 3}}
    other = Callbacks([Keeping(on_epoch=print, n=0), Only(on_epoch=print)])
    other.restore(callbacks.state())
    assert (other.stopped, other.callbacks[0].n) == (True, 3)
    other.restore({"0": {"n": 1}})
    assert not other.stopped
    assert Callbacks().state() == {}
    assert not Callbacks([Only(on_epoch=print)]).keep


def test_what_decides_the_result_is_described():
    (stopping, own) = Callbacks([EarlyStopping("acc_test", 3), Only(on_epoch=print)]).describe()
    assert stopping["class"] == "EarlyStopping"
    assert stopping["arguments"]["patience"] == 3
    assert own == "Only", "its arguments may be a file's name"


@pytest.mark.parametrize("within", [False, True])
def test_a_training_that_was_stopped_stays_so_when_it_is_resumed(within, tmp_path):
    path = str(tmp_path / "run.safetensors")
    if within:
        stops = Only(on_step=lambda epoch, step: (epoch, step) == (2, 2))
    else:
        stops = Only(on_epoch=lambda history: len(history) == 2)
    model, history = run([stops], epochs=5, checkpoint=Checkpoint(path))
    never = Only(on_step=lambda *_: None) if within else Only(on_epoch=lambda _: None)
    again, resumed = run([never], epochs=5, checkpoint=Checkpoint(path, resume=True))
    pd.testing.assert_frame_equal(history, resumed)
    assert resumed.attrs == history.attrs
    np.testing.assert_array_equal(model[0].weight.data, again[0].weight.data)


def test_a_checkpoint_written_before_there_were_callbacks_is_resumed(tmp_path):
    """Its file has no such part, as one without callbacks has an empty one."""
    from minibnn.training.checkpoint_file import read_checkpoint

    path = str(tmp_path / "run.safetensors")
    run(epochs=1, checkpoint=Checkpoint(path))
    state, about = read_checkpoint(path)
    assert state["callbacks"] == {}
    assert "callbacks" not in about["job"]


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Only(on_epoch=print), r"callbacks to be a list of objects, .*\[\.\.\.\]"),
        (lambda: [Noting], r"got the class Noting; write Noting\(\.\.\.\)"),
        (lambda: [print], r"expected a callback with .*; pass a function as on_epoch=\.\.\."),
        (lambda: [functools.partial(print)], "pass a function as on_epoch"),
        (lambda: [object()], "on_step or on_end, got object; give it one of them"),
        (lambda: [Only(on_epoch=3)], "give it one of them"),
        (lambda: [Only(on_epoch=print, state=dict)], "got state alone; write both"),
        (lambda: [Only(on_epoch=print, restore=dict)], "got restore alone"),
    ],
)
def test_refused(make, message):
    with pytest.raises(TypeError, match=message):
        run(make())


def test_on_epoch_is_a_function():
    with pytest.raises(TypeError, match=r"expected on_epoch to be a function .* callbacks="):
        run(on_epoch=Noting([]))
