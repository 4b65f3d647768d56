"""Epochs of captured steps, compared with epochs of plain steps, and the fallback to these."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import strictdev
from captured_training import (
    MODELS,
    OPTIMIZERS,
    Own,
    anneals,
    assert_equal,
    batches,
    convolutional,
    data,
    dense,
    everything,
    reads,
    run_both,
    training,
    warned,
)
from devices import STRICT

from minibnn import (
    SGD,
    Adam,
    DataLoader,
    Dropout,
    LogitCrossEntropy,
    Sequential,
    SquaredHinge,
)
from minibnn.training import CapturedSteps, PlainSteps


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 10},  # nine batches
        {"batch": 11},  # and a smaller one
        {"batch": 11, "drop_last": True},
        {"batch": 12, "shuffle": False},
        {"batch": 22},  # the fewest that are captured
    ],
)
def test_every_kind_of_epoch(options, device):
    run_both(device, MODELS["dropout"], OPTIMIZERS["adam"], **options)


def test_one_seed_gives_the_same_bits_again(device):
    one, other = (
        training(CapturedSteps, device, convolutional, OPTIMIZERS["adam"]) for _ in range(2)
    )
    for steps in (one, other):
        loader = batches(device)
        for _ in range(2):
            steps.epoch(loader)
    assert_equal(one, other)


def test_two_threads_take_turns(device):
    plain = training(PlainSteps, device, dense, OPTIMIZERS["adam"])
    captured = training(CapturedSteps, device, dense, OPTIMIZERS["adam"])
    one, other = batches(device), batches(device)
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            losses = pool.submit(lambda: device.to_host(captured.epoch(other))).result()
        np.testing.assert_array_equal(device.to_host(plain.epoch(one)), losses)
    assert_equal(plain, captured)


# --- The device is left alone --------------------------------------------------------------------


@contextmanager
def not_waiting(device):
    """Inside, whatever would make the host wait for the device is an error."""
    if device is STRICT:
        with strictdev.count_readbacks() as readbacks:
            yield
        assert readbacks.count == 0
    else:
        import cupyx

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated, and experimental
            with cupyx.allow_synchronize(False):
                yield


def test_an_epoch_is_three_uploads_and_no_read_back(device):
    """The first epoch learns and captures; the next one may bring its order and its tables."""
    steps = training(CapturedSteps, device, MODELS["dropout"], OPTIMIZERS["adam"])
    loader = batches(device)
    steps.epoch(loader)
    with not_waiting(device):
        steps.epoch(loader)
    if device is not STRICT:
        return
    begin = steps._captured.begin
    with strictdev.count_uploads() as uploads:
        begin(loader)
    assert uploads.count == 3  # the order, the rates, the keys
    steps._captured.begin = lambda loader: None  # the rest of that epoch
    before = everything(steps)
    with strictdev.no_sync():
        losses = steps.epoch(loader)
    assert len(losses) == 9
    after = everything(steps)
    assert after["steps of 0"] == before["steps of 0"] + 9
    assert (after["2.weight"] != before["2.weight"]).any()


@pytest.mark.parametrize("kind", [PlainSteps, CapturedSteps])
def test_a_first_epoch_never_waits_either(kind, device):
    steps = training(kind, device, MODELS["batch norm"], OPTIMIZERS["adam"])
    loader = batches(device)
    with not_waiting(device):
        assert len(steps.epoch(loader)) == 9


# --- What changes between epochs -----------------------------------------------------------------


def train_and_change(device, kind, change):
    steps = training(kind, device, MODELS["dropout"], OPTIMIZERS["adam"])
    loader = batches(device)
    found = []
    for epoch in range(4):
        if epoch == 2:
            loader = change(steps, loader) or loader
        steps.epoch(loader)
        found.append(getattr(steps, "_captured", None))
    return steps, found


CHANGES = {  # and whether the captured step is kept
    "rate": (lambda s, loader: setattr(s.optimizer, "learning_rate", 0.5), True),
    "draws set back": (
        lambda s, loader: [setattr(d, "count", 0) for d in draws(s)] and None,
        True,
    ),
    "one of two streams set back": (lambda s, loader: setattr(next(draws(s)), "count", 0), True),
    "dropout's rate": (lambda s, loader: setattr(s.model[3], "rate", 0.9), False),
    "an array": (lambda s, loader: replace_buffer(s), False),
    "loader": (lambda s, loader: batches(s.model.backend, 15), False),
    "values": (lambda s, loader: s.model[2].weight.data.fill(0.5), True),
}


def draws(steps):
    return (layer.stream for layer in steps.model if isinstance(layer, Dropout))


def replace_buffer(steps):
    steps.optimizer._m = steps.optimizer._m * 2


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_between_epochs(name, device):
    change, still_right = CHANGES[name]
    plain, _ = train_and_change(device, PlainSteps, change)
    captured, found = train_and_change(device, CapturedSteps, change)
    assert_equal(plain, captured)
    assert found[0] is found[1]
    assert (found[1] is found[2]) == still_right
    assert found[2] is found[3]
    assert all(step.captured for step in found)


@pytest.mark.parametrize("name", ["optimizer", "loss"])
def test_another_optimiser_or_loss_in_each_epoch(name, device):
    """Of a part of the parameters each, so that none takes over what another one holds."""
    trained = []
    for kind in (PlainSteps, CapturedSteps):
        steps, loader = (
            training(kind, device, MODELS["batch norm"], OPTIMIZERS["sgd"]),
            batches(device),
        )
        parameters = list(steps.model.parameters())
        optimizers = SGD(parameters[:1], 0.1), Adam(parameters[1:], 0.01)
        steps.optimizer = optimizers[0]
        others = {"optimizer": optimizers, "loss": (LogitCrossEntropy(), SquaredHinge())}[name]
        losses = []
        for epoch in range(4):
            setattr(steps, name, others[epoch % 2])
            losses.append(device.to_host(steps.epoch(loader)).tolist())
        trained.append((losses, everything(steps)))
    (one, plain), (other, captured) = trained
    assert one == other
    for key, value in plain.items():
        np.testing.assert_array_equal(captured[key], value, err_msg=key)


# --- What cannot be captured ---------------------------------------------------------------------


def test_few_batches_are_not_worth_a_capture(device):
    steps = training(CapturedSteps, device, dense, OPTIMIZERS["adam"])
    losses = steps.epoch(batches(device, 30))
    assert len(losses) == 3
    assert steps.refused is None
    assert not steps.captured


class Doubled(DataLoader):
    def batches(self, epoch):
        return ((x, labels) for x, labels in super().batches(epoch))


def test_a_loader_with_batches_of_its_own_is_refused(device):
    steps = training(CapturedSteps, device, dense, OPTIMIZERS["adam"])
    loader = Doubled(data(device), 10)
    warned(steps, loader, "Doubled makes its batches itself")


def test_a_loader_whose_batches_were_replaced_is_refused(device):
    steps = training(CapturedSteps, device, dense, OPTIMIZERS["adam"])
    loader = batches(device)
    loader.batches = lambda epoch: DataLoader.batches(loader, 0)
    warned(steps, loader, "DataLoader makes its batches itself")


def test_a_device_that_captures_nothing(monkeypatch):
    monkeypatch.setattr(STRICT, "graphs", None)
    monkeypatch.setattr(STRICT, "no_graphs", "no such driver", raising=False)
    steps = training(CapturedSteps, STRICT, dense, OPTIMIZERS["adam"])
    warned(steps, batches(STRICT), "the strict captures nothing, no such driver")


def keeps(layer, x):
    layer.seen = x.mean(axis=0)
    return x


def draws_on_the_host(layer, x):
    layer.rng = getattr(layer, "rng", np.random.default_rng(0))
    return x * float(layer.rng.random())


def alternates(layer, x):
    layer.seen = not layer.seen
    return x + 1 if layer.seen else x


REFUSED = {
    "reads": (reads, r"reading one element .*in layer 3 of Sequential: Own\(\)"),
    "anneals": (anneals, r"model\._layers\[3\]\.scale changed during a step"),
    "keeps": (keeps, r"model\._layers\[3\]\.seen changed during a step"),
    "draws on the host": (draws_on_the_host, r"model\._layers\[3\]\.rng changed during a step"),
    "alternates": (alternates, r"model\._layers\[3\]\.seen changed during a step"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_cannot_be_captured_is_named_and_trained_all_the_same(name, device):
    what, match = REFUSED[name]
    if device is not STRICT and name == "reads":
        match = r"in layer 3 of Sequential: Own\(\)"  # CUDA has its own words for the rest
    plain = training(PlainSteps, device, lambda: dense(Own(what)), OPTIMIZERS["adam"])
    captured = training(CapturedSteps, device, lambda: dense(Own(what)), OPTIMIZERS["adam"])
    one, other = batches(device, 11), batches(device, 11)
    for _ in range(2):
        plain.epoch(one)
    warned(captured, other, match)
    assert_equal(plain, captured)


# --- The end of an epoch -------------------------------------------------------------------------


def test_training_stops_where_it_is_asked_to(device):
    plain = training(PlainSteps, device, MODELS["dropout"], OPTIMIZERS["adam"])
    captured = training(
        CapturedSteps, device, MODELS["dropout"], OPTIMIZERS["adam"], steps_at_once=2
    )
    one, other = batches(device), batches(device)
    told = []

    def stop(count):
        told.append(count)
        return sum(told) >= 6

    for expected in ([1, 1, 1, 2, 2], [2, 2, 2]):
        told.clear()
        done = captured.epoch(other, stop)
        assert told == expected
        assert len(done) == sum(expected)
        left = iter([False] * (len(done) - 1) + [True])
        assert len(plain.epoch(one, lambda count: next(left))) == len(done)  # noqa: B023
        assert_equal(plain, captured)


def test_after_a_loss_that_is_not_finite_nothing_changes(device):
    """One white image makes its batch's sums inf - inf."""

    def overflow(layer, x):
        return x / (x.min(axis=1, keepdims=True) < 0.99)

    def spoiled():
        flatten, rescale, *others = dense()
        return Sequential(flatten, rescale, Own(overflow), *others)

    results = []
    for kind in (PlainSteps, CapturedSteps):
        steps = training(kind, device, spoiled, OPTIMIZERS["adam"])
        images, labels = data(device)
        images[60] = 255
        loader = DataLoader((images, labels), 10, shuffle=True, rng=5)
        results.append((steps, [device.to_host(steps.epoch(loader)) for _ in range(3)]))
    (plain, losses), (captured, same) = results
    np.testing.assert_array_equal(losses, same)
    assert_equal(plain, captured)
    assert (~np.isfinite(losses)).sum(axis=1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", [CapturedSteps, PlainSteps, None])
@pytest.mark.parametrize("given", [2, 3, 9])
def test_a_captured_training_goes_on_from_a_state_inside_an_epoch(kind, given, device):
    """By captured steps, by plain ones, or in the same object, which has trained on since."""
    build, make = MODELS["dropout"], OPTIMIZERS["bop and adam"]
    plain, data = training(PlainSteps, device, build, make), batches(device, 11)
    expected = [device.to_host(plain.epoch(data)) for _ in range(3)]

    steps, one = training(CapturedSteps, device, build, make, steps_at_once=2), batches(device, 11)
    steps.epoch(one)
    assert steps.captured
    made, states = [], []

    def note(count):  # in the epoch that goes on
        made.append(count)
        if sum(made) >= given and not states:
            parts = (steps.model, steps.optimizer, one)
            states.extend([sum(made), *(part.state() for part in parts)])
        return False

    steps.epoch(one, note)
    done, *states = states
    if kind is None:
        again, other = steps, one
    else:
        again, other = training(kind, device, build, make), batches(device, 11, rng=99)
        again.epoch(other)  # so that the captured step is of another time
    for part, state in zip((again.model, again.optimizer, other), states, strict=True):
        part.restore(state)
    if done < 9:
        np.testing.assert_array_equal(device.to_host(again.epoch(other)), expected[1][done:])
    np.testing.assert_array_equal(device.to_host(again.epoch(other)), expected[2])
    assert_equal(plain, again)
    assert other.state() == data.state()
