"""The training step, and epochs of it."""

from __future__ import annotations

import numpy as np
import pytest
import strictdev
from captured_training import (
    MODELS,
    OPTIMIZERS,
    assert_equal,
    batches,
    dense,
    training,
)
from clusters import binary_model, clusters
from devices import STRICT

from minibnn import (
    SGD,
    Adam,
    DataLoader,
    LogitCrossEntropy,
)
from minibnn.optimizers.diverged import LOSS, DivergedError
from minibnn.training import CapturedSteps, PlainSteps
from minibnn.training.step import lost, with_refused


def test_a_training_step_never_waits_for_the_device():
    device = STRICT
    model = binary_model(device)
    data = DataLoader(clusters(300, 1), 32, shuffle=True, rng=2).to(device)
    optimizer = Adam(model.parameters(), 1e-2)
    loss = LogitCrossEntropy()
    all_finite = device.xp.isfinite(device.xp.zeros(()))
    for x, labels in data:
        with strictdev.no_sync():
            value = loss.forward(model.forward(x, train=True), labels)
            all_finite = all_finite & device.xp.isfinite(value)
            model.backward(loss.backward(), need_dx=False)
            with device.update(allowed=all_finite):
                optimizer.step()


@pytest.mark.parametrize("wrong", ["model", "loss", "optimizer", "another", "loader"])
@pytest.mark.parametrize("kind", [PlainSteps, CapturedSteps])
def test_what_cannot_be_trained_together_is_refused(kind, wrong):
    model, other = dense().initialize(1), dense().initialize(1)
    given = {"model": model, "loss": LogitCrossEntropy(), "optimizer": SGD(model.parameters(), 0.1)}
    if wrong == "loader":
        with pytest.raises(TypeError, match=f"{kind.__name__}: expected a DataLoader, got list"):
            kind(**given).epoch([])
    elif wrong == "another":
        with pytest.raises(ValueError, match=f"{kind.__name__}: the optimiser holds none of the"):
            kind(**given | {"model": other})
    else:
        with pytest.raises(TypeError, match=f"{kind.__name__}: expected {wrong} of type"):
            kind(**given | {wrong: LogitCrossEntropy})


def test_the_update_that_was_refused_first_shows_as_nan(backend):
    """If its own loss was finite: the cause was a gradient or an update."""
    losses = backend.asarray(np.array([1.0, 2.0, 3.0, 4.0]))
    for verdicts, expected in (
        ([True, True, True, True], [1, 2, 3, 4]),
        ([True, False, False, False], [1, np.nan, 3, 4]),
        ([False, False, False, False], [np.nan, 2, 3, 4]),
    ):
        got = with_refused(losses, backend.asarray(np.array(verdicts)))
        np.testing.assert_array_equal(backend.to_host(got), expected)
    losses[1] = np.inf
    got = with_refused(losses, backend.asarray(np.array([True, False, False, False])))
    np.testing.assert_array_equal(backend.to_host(got), [1, np.inf, 3, 4])


def test_a_step_that_the_host_refused_keeps_a_loss_that_is_not_finite():
    assert lost(DivergedError(np.inf, None, None, None, LOSS)) == np.inf
    assert np.isnan(lost(DivergedError(np.inf, None, None, None, "the gradient of w")))


@pytest.mark.parametrize("given", [1, 4, 7, 8])
@pytest.mark.parametrize("name", ["dropout", "stochastic signs", "direct feedback"])
@pytest.mark.parametrize("kind", [PlainSteps, CapturedSteps])
def test_an_epoch_goes_on_where_a_restored_one_was(kind, name, given, backend):
    """To the same bytes; an epoch has eight batches, and a smaller one."""
    if kind is CapturedSteps and backend.host:
        pytest.skip("the CPU captures nothing")
    make = OPTIMIZERS["bop and adam" if name == "dropout" else "adam"]
    options = {"steps_at_once": 2} if kind is CapturedSteps else {}
    whole = training(kind, backend, MODELS[name], make, **options)
    data = batches(backend, 11)
    expected = [backend.to_host(whole.epoch(data)).tobytes() for _ in range(2)]

    first, one, made = training(PlainSteps, backend, MODELS[name], make), batches(backend, 11), []

    def stop(count):
        made.append(count)
        return sum(made) == given

    so_far = backend.to_host(first.epoch(one, stop))
    model = MODELS[name]().initialize(99).to(backend)
    second = kind(model, LogitCrossEntropy(), make(model), **options)
    other, seen = batches(backend, 11, rng=99), []
    model.restore(first.model.state())
    second.optimizer.restore(first.optimizer.state())
    other.restore(one.state())

    def watch(count):
        seen.append((count, len(second.losses_so_far())))
        return False

    rest = backend.to_host(second.epoch(other, watch))
    assert [n for _, n in seen] == np.cumsum([count for count, _ in seen]).tolist()
    assert len(rest) == seen[-1][1] == 9 - given  # without those of the restored steps
    assert np.concatenate([so_far, rest]).tobytes() == expected[0]
    assert backend.to_host(second.epoch(other)).tobytes() == expected[1]
    assert_equal(whole, second)
    assert other.state() == data.state()
    if kind is CapturedSteps:
        assert second.captured
