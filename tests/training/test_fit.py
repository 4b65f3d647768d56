"""`fit`: what it measures, what stops it, and that it repeats and learns."""

from __future__ import annotations

import io
import pickle
import signal
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import strictdev
from captured_training import (
    MODELS,
    Own,
    anneals,
    batches,
    dense,
)
from clusters import binary_model, clusters
from devices import STRICT

from minibnn import (
    SGD,
    Adam,
    DataLoader,
    Dense,
    DivergedError,
    LogitCrossEntropy,
    Ranks,
    evaluate,
    fit,
)


def run(backend="cpu", epochs=3, **options):
    model = binary_model(backend)
    train = DataLoader(clusters(300, 1), 32, shuffle=True, rng=2)
    test = DataLoader(clusters(101, 3), 32)
    optimizer = Adam(model.parameters(), 1e-2)
    history = fit(
        model, train, test, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=epochs, **options
    )
    return model, history


def test_it_learns():
    _, history = run(epochs=8)
    assert history.acc_test.iloc[-1] > 0.95
    assert history.loss_train.iloc[-1] < 0.5 * history.loss_train.iloc[0]


def test_history(backend):
    model, history = run(backend)
    measured = ["loss_train", "loss_test", "acc_train", "acc_test"]
    assert list(history.columns) == [*measured, "flips_0.weight", "flips_3.weight"]
    assert history.index.tolist() == [1, 2, 3]
    assert history.index.name == "epoch"
    assert set(history.dtypes) == {np.dtype(np.float64)}
    assert history.attrs == {
        "interrupted": False, "captured": not backend.host, "stopped": False
    }  # fmt: skip
    metrics = evaluate(model, DataLoader(clusters(101, 3), 10).to(backend), LogitCrossEntropy())
    assert history.loss_test.iloc[-1] == pytest.approx(metrics.loss, rel=1e-5)
    assert history.acc_test.iloc[-1] == metrics.accuracy


def test_one_seed_gives_one_history():
    (a, first), (b, second) = run(), run()
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_devices_agree(device):
    _, host = run(epochs=1)
    _, there = run(device, epochs=1)
    # Rounding in another order can flip a sign near zero, so: near, not equal.
    np.testing.assert_allclose(host.to_numpy(), there.to_numpy(), atol=0.03)


def test_two_halves_are_one_whole():
    _, whole = run(epochs=4)
    model = binary_model()
    train = DataLoader(clusters(300, 1), 32, shuffle=True, rng=2)
    test = DataLoader(clusters(101, 3), 32)
    optimizer = Adam(model.parameters(), 1e-2)
    halves = [
        fit(model, train, test, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=2)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(pd.concat(halves).to_numpy(), whole.to_numpy())


def test_one_read_back_an_epoch():
    counts = []

    def count(_):
        counts.append(strictdev.readbacks())

    run(STRICT, epochs=4, on_epoch=count)
    assert np.diff(counts).tolist() == [1, 1, 1]


def test_on_epoch_sees_the_history_so_far():
    lengths = []
    run(on_epoch=lambda history: lengths.append(len(history)))
    assert lengths == [1, 2, 3]


class Terminal(io.StringIO):
    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


@pytest.mark.parametrize(
    ("tty", "progress", "shown"),
    [(True, None, True), (False, None, False), (True, False, False)],
)
def test_progress_only_on_a_terminal(monkeypatch, capsys, tty, progress, shown):
    stderr = Terminal(tty)
    monkeypatch.setattr(sys, "stderr", stderr)
    run(epochs=2, progress=progress)
    assert ("epoch 2/2" in stderr.getvalue()) == shown
    assert ("0/10 " in stderr.getvalue()) == shown
    assert capsys.readouterr().out == ""


# --- What `fit` refuses --------------------------------------------------------------------------


def fit_with(model=None, data=None, optimizer=None, epochs=1, loss=None):
    model = model or binary_model()
    data = data or DataLoader(clusters(50, 3), 32)
    optimizer = optimizer or SGD(model.parameters(), 0.1)
    loss = loss or LogitCrossEntropy()
    return fit(model, data, data, loss=loss, optimizer=optimizer, epochs=epochs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (lambda: {"data": clusters(9, 0)}, "fit: train: expected a DataLoader, got tuple"),
        (lambda: {"optimizer": LogitCrossEntropy()}, "expected optimizer of type Optimizer"),
        (lambda: {"optimizer": Adam}, "got the class Adam"),
        (lambda: {"loss": LogitCrossEntropy}, r"got the class .*; write LogitCrossEntropy\(\)"),
        (lambda: {"epochs": 0}, "expected at least 1 epoch, got 0"),
        (
            lambda: {"optimizer": SGD(binary_model().parameters(), 0.1)},
            "holds none of the model's parameters",
        ),
        (
            lambda: {"data": DataLoader((clusters(9, 0)[0],), 3)},
            r"expected a loader of \(x, labels\)",
        ),
        (
            lambda: {"data": DataLoader((clusters(9, 0)[0], np.full(9, 3)), 3)},
            r"labels: expected labels in 0\.\.2, got 3",
        ),
        (
            lambda: {"data": DataLoader((clusters(9, 0)[0], np.ones((9, 3))), 3)},
            "labels: expected rows of probabilities",
        ),
    ],
)
def test_fit_refuses(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fit_with(**options())


def test_fit_notices_a_moved_model_before_it_starts():
    model = binary_model()
    optimizer = SGD(model.parameters(), 0.1)
    model.to(dtype=np.float64)
    with pytest.raises(RuntimeError, match="moved or replaced"):
        fit_with(model=model, optimizer=optimizer)


# --- Values that are not finite ------------------------------------------------------------------


def poisoned(epochs=3, backend="cpu", where=70):
    """Training on data with one nan; batches are in order, so it is in the third batch of 32."""
    model = binary_model(backend)
    x, labels = clusters(300, 1)
    x[where] = np.nan
    train = DataLoader((x, labels), 32)
    test = DataLoader(clusters(50, 3), 32)
    optimizer = Adam(model.parameters(), 1e-2)
    return (
        model,
        optimizer,
        lambda: fit(
            model, train, test, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=epochs
        ),
    )


def test_a_loss_that_is_not_finite_stops_before_the_update(backend):
    model, _, train = poisoned(backend=backend)
    with pytest.raises(DivergedError, match="the loss became nan in epoch 1, batch 3") as caught:
        train()
    assert (caught.value.epoch, caught.value.batch) == (1, 3)
    assert all(layer.saved is None for layer in model)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert caught.value.history.empty
    assert not caught.value.history.attrs["interrupted"]
    # The parameters are those after two batches of the same training without the nan.
    again = binary_model(backend)
    x, labels = clusters(300, 1)
    optimizer = Adam(again.parameters(), 1e-2)
    loss = LogitCrossEntropy()
    for i, (a, b) in enumerate(DataLoader((x, labels), 32).to(backend)):
        if i == 2:
            break
        loss.forward(again.forward(a, train=True), b)
        again.backward(loss.backward(), need_dx=False)
        optimizer.step()
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(backend.to_host(p.data), backend.to_host(q.data))
    for b in model.buffers():
        assert np.isfinite(backend.to_host(b.data)).all()


def test_a_model_that_diverged_in_its_last_update_is_not_called_trained():
    model = Dense(8, 3).initialize(0)
    data = DataLoader(clusters(50, 3), 50)
    with pytest.raises(DivergedError, match="in the evaluation after epoch 1") as caught:
        fit_with(model=model, data=data, optimizer=SGD(model.parameters(), 1e38))
    assert caught.value.batch is None


# --- Ctrl-C --------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
def test_ctrl_c_finishes_the_batch_and_returns_the_history():
    model = binary_model()
    train = DataLoader(clusters(300, 1), 32, shuffle=True, rng=2)
    test = DataLoader(clusters(50, 3), 32)
    before = signal.getsignal(signal.SIGINT)

    class Interrupting(Adam):
        def step(self, **options):
            if self.steps == 25:  # in the middle of the third epoch of ten batches
                signal.raise_signal(signal.SIGINT)
            super().step(**options)

    optimizer = Interrupting(model.parameters(), 1e-2)
    history = fit(model, train, test, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=9)
    assert optimizer.steps == 26, "the batch in hand is finished, the next not begun"
    assert history.index.tolist() == [1, 2]
    assert history.attrs == {"interrupted": True, "captured": False, "stopped": False}
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
def test_a_second_ctrl_c_stops_at_once():
    class Impatient(Adam):
        def step(self, **options):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    model = binary_model()
    data = DataLoader(clusters(50, 3), 32)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(
            model,
            data,
            data,
            loss=LogitCrossEntropy(),
            optimizer=Impatient(model.parameters()),
            epochs=1,
        )
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
def test_ctrl_c_in_the_last_batch_keeps_the_epoch():
    class Interrupting(Adam):
        def step(self, **options):
            super().step(**options)
            if self.steps == 2:
                signal.raise_signal(signal.SIGINT)

    model = binary_model()
    data = DataLoader(clusters(50, 3), 25)
    optimizer = Interrupting(model.parameters())
    history = fit_with(model=model, data=data, optimizer=optimizer, epochs=9)
    assert (len(history), optimizer.steps) == (1, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        seen = []
        run(epochs=1, on_epoch=lambda _: seen.append(signal.getsignal(signal.SIGINT)))
        assert seen == [signal.SIG_IGN]
    finally:
        signal.signal(signal.SIGINT, before)


def test_fit_works_outside_the_main_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(run(epochs=1)))
    thread.start()
    thread.join()
    assert len(results[0][1]) == 1


# --- Captured steps ------------------------------------------------------------------------------


def test_capture_is_a_truth():
    from minibnn import get_backend

    with pytest.raises(TypeError, match="expected capture to be None, True or False, got 'auto'"):
        fitted(get_backend("cpu"), capture="auto")


def fitted(device, capture=None, build=None, **options):
    model = (build or MODELS["batch norm"])().initialize(1).to(device)
    loss = LogitCrossEntropy()
    train, test = batches(device), batches(device, 40, shuffle=False)
    history = fit(
        model, train, test, loss=loss, optimizer=Adam(model.parameters(), 0.01), epochs=3,
        capture=capture, progress=False, **options,
    )  # fmt: skip
    return history, evaluate(model, test, loss)


def test_fit_captures_by_default_and_says_so(device, caplog):
    with caplog.at_level("INFO", logger="minibnn"):
        history, metrics = fitted(device)
    assert history.attrs["captured"]
    assert "a training step is captured and replayed" in caplog.text
    plain, plain_metrics = fitted(device, capture=False)
    assert not plain.attrs["captured"]
    np.testing.assert_array_equal(history.to_numpy(), plain.to_numpy())
    assert metrics == plain_metrics


def test_fit_on_the_host_captures_nothing():
    from minibnn import get_backend

    history, _ = fitted(get_backend("cpu"))
    assert not history.attrs["captured"]
    with pytest.raises(ValueError, match=r"a GPU with capture=True, got cpu"):
        fitted(get_backend("cpu"), capture=True)


def test_ranks_do_not_capture_their_steps(device):
    """On a stand-in for a GPU, whose steps are captured otherwise."""
    pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
    with pytest.raises(
        ValueError,
        match=r"^fit: expected capture=None with comm, since .* cannot be captured, got True; leave",
    ):
        fitted(device, capture=True, comm=Ranks())
    for mode in ("sum", "exact"):  # with no warning, also if a callback would forbid it
        for callbacks in ([], [Watches()]):
            history = fitted(device, comm=Ranks(mode), callbacks=callbacks)[0]
            assert history.attrs["captured"] is False
    assert fitted(device)[0].attrs["captured"] is True


class Watches:
    def on_step(self, epoch, step):
        return False


def test_fit_trains_on_when_a_layer_cannot_be_captured(device):
    with pytest.warns(UserWarning, match=r"training without a captured step: .*scale changed"):
        history, _ = fitted(device, build=lambda: dense(Own(anneals)))
    assert not history.attrs["captured"]
    assert len(history) == 3
