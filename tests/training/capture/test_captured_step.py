"""A captured step computes what the plain step does, to the last bit, whatever is trained."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from captured_training import (
    MODELS,
    OPTIMIZERS,
    assert_equal,
    batches,
    convolutional,
    dense,
    run_both,
    training,
    warned,
)
from devices import STRICT

from minibnn import (
    SGD,
    Adam,
    BatchNorm,
    Bop,
    Cosine,
    Dropout,
    LogitCrossEntropy,
    OptimizerGroup,
    Sequential,
    SquaredHinge,
    split_parameters,
)
from minibnn.training import CapturedSteps, PlainSteps
from minibnn.training.capture.captured_step import CapturedStep


def test_a_step_is_learnt_warmed_up_captured_and_replayed(device):
    """What `CapturedSteps` does in an epoch, by hand."""
    plain = training(PlainSteps, device, dense, OPTIMIZERS["adam"])
    again = training(PlainSteps, device, dense, OPTIMIZERS["adam"])
    one, other = batches(device, drop_last=True), batches(device, drop_last=True)
    expected = device.to_host(plain.epoch(one))
    with device.graphs.stream():
        step = CapturedStep(again, other)
        step.begin(other)
        for make in (step.learn, step.learn, step.warm_up):
            make()
        assert (step.done, len(step.states)) == (3, 3)
        assert not step.captured
        step.capture(device.graphs, 2)
        assert step.done == 3, "to capture a step does not make it"
        assert sorted(step.captured) == [1, 2]
        assert step.fits(again, other)
        done = []
        while step.done < len(other):
            step.go_on()
            done.append(step.done)
        assert done == [5, 7, 9]
        np.testing.assert_array_equal(device.to_host(step.end()), expected)
    assert_equal(plain, again)
    again.loss.label_smoothing = 0.5
    assert not step.fits(again, other)


@pytest.mark.parametrize("model", MODELS)
def test_every_kind_of_layer(model, device):
    run_both(device, MODELS[model], OPTIMIZERS["adam"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser(optimizer, device):
    run_both(device, MODELS["batch norm"], OPTIMIZERS[optimizer])


@pytest.mark.parametrize("loss", [LogitCrossEntropy(label_smoothing=0.1), SquaredHinge()])
def test_other_losses(loss, device):
    run_both(device, MODELS["dense"], OPTIMIZERS["adam"], loss=loss)


class OnHost(LogitCrossEntropy):
    def forward(self, logits, labels):
        return float(super().forward(logits, labels))


class Halved(LogitCrossEntropy):
    def forward(self, logits, labels):
        return super().forward(logits, labels).astype(np.float16)


def test_losses_of_other_types(device):
    run_both(device, dense, OPTIMIZERS["adam"], loss=Halved())
    steps = training(CapturedSteps, device, dense, OPTIMIZERS["adam"], OnHost())
    warned(steps, batches(device), "reading one element" if device is STRICT else "")


def test_float64(device):
    def build():
        return MODELS["batch norm"]().to(dtype=np.float64)

    run_both(device, build, OPTIMIZERS["adam"])


# --- Optimisers and containers of a user's own ---------------------------------------------------


class Centred(Adam):
    """Changes the weights after the step."""

    def step(self):
        super().step()
        self.store.data[...] -= self.store.data.mean()


def test_an_adam_of_a_users_own_is_trained_as_it_is(device):
    run_both(device, MODELS["batch norm"], lambda m: Centred(m.parameters(), 0.01))


class Twice(SGD):
    """Makes two small updates instead of one."""

    def step(self):
        super().step()
        super().step()


class Clipping(OptimizerGroup):
    """Clips the gradients of its members before they make their steps."""

    def step(self):
        for p in self.parameters:
            p.grad[...] = self.backend.xp.clip(p.grad, -0.01, 0.01)
        super().step()


@pytest.mark.parametrize(
    "make",
    [
        lambda m: Twice(m.parameters(), Cosine(0.1, 0, length=30)),
        lambda m: Clipping(SGD(m.parameters(), Cosine(0.1, 0, length=20))),
        lambda m: OptimizerGroup(OptimizerGroup(Adam(m.parameters()))),
    ],
    ids=["twice", "clipping", "groups"],
)
def test_steps_of_a_users_own(make, device):
    run_both(device, MODELS["dropout"], make)


class CountsItself(SGD):
    """Has a step of its own, which counts as the class it derives from."""

    def step(self):
        self.update_all(self.scalars_at(self._steps))
        self.steps += 1


def test_a_step_of_a_users_own_may_count(device):
    run_both(device, dense, lambda m: CountsItself(m.parameters(), 0.1))


class Clipped(Sequential):
    """A user's container, which looks at gradients as soon as they are there."""

    def backward(self, dy, *, need_dx=True):
        dx = super().backward(dy, need_dx=need_dx)
        for p in self.parameters():
            p.grad[...] = self.backend.xp.clip(p.grad, -0.01, 0.01)
        return dx


def test_who_looks_at_gradients_finds_them(device):
    def build():
        flatten, rescale, *others = convolutional()
        return Sequential(flatten, rescale, Clipped(*others))

    run_both(device, build, OPTIMIZERS["adam"])


# --- A step that fails ---------------------------------------------------------------------------


class InNumPy(SGD):
    """Wants its rate as a number of NumPy's."""

    def update(self, segment, scalars):
        super().update(segment, (np.float32(scalars[0]),))


class Odd(SGD):
    """Takes its scalars again once they are not the host's, after the gradients are there."""

    def update(self, segment, scalars):
        if isinstance(scalars[0], self.backend.array_type):
            self.scalars_at(self.steps)
        super().update(segment, scalars)


@pytest.mark.parametrize("make", [InNumPy, Odd])
def test_a_step_that_fails_with_the_devices_scalars_is_undone(make, device):
    """Batch norm and the stream have moved on by then, and must not do so twice."""

    def build():
        return dense(BatchNorm(12), Dropout(0.3))

    plain = training(PlainSteps, device, build, lambda m: make(m.parameters(), 0.1))
    captured = training(CapturedSteps, device, build, lambda m: make(m.parameters(), 0.1))
    one, other = batches(device), batches(device)
    losses = [device.to_host(plain.epoch(one)) for _ in range(2)]
    with pytest.warns(UserWarning, match="training without a captured step: with scalars from"):
        first = device.to_host(captured.epoch(other))
    np.testing.assert_array_equal([first, device.to_host(captured.epoch(other))], losses)
    assert_equal(plain, captured)


class Ends:
    """A rate that is good for so many steps."""

    def __init__(self, steps, then):
        self.steps, self.then = steps, then

    def __repr__(self):
        return f"Ends({self.steps})"

    def __call__(self, step):
        if step < self.steps:
            return 0.1
        if self.then == "error":
            raise LookupError(f"no rate for step {step}")
        return self.then


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9, 14])
@pytest.mark.parametrize("then", ["error", -1.0, 1e60])
def test_a_rate_that_ends_in_mid_epoch(steps, then, grouped, device):
    """All steps before it are made, and the error is that of the step that has no rate."""

    def make_optimizer(model):
        if not grouped:
            return SGD(model.parameters(), Ends(steps, then))
        binary, rest = split_parameters(model)
        return OptimizerGroup(Bop(binary), Adam(rest, Ends(steps, then)))

    def build():
        return dense(BatchNorm(12), Dropout(0.3))

    seen = []
    for kind in (PlainSteps, CapturedSteps):
        training_steps = training(kind, device, build, make_optimizer)
        loader = batches(device)
        losses, told = [], []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "training without a captured step: a step of this")
            warnings.filterwarnings("ignore", "training without a captured step: with scalars")
            try:
                for _ in range(3):
                    losses.append(
                        device.to_host(training_steps.epoch(loader, told.append)).tolist()
                    )
            except (LookupError, ValueError) as error:
                losses.append(f"{type(error).__name__}: {error}")
        assert sum(told) >= steps
        seen.append((losses, sum(told), training_steps))
    (plain_losses, plain_told, plain), (losses, told, captured) = seen
    np.testing.assert_equal(losses, plain_losses)
    assert told == plain_told
    assert_equal(plain, captured)
