"""An optimiser raises if nobody trains its parameters, instead of updating them in vain."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import strictdev
from devices import STRICT

from minibnn import (
    SGD,
    Activation,
    Adam,
    AdaMax,
    BatchNorm,
    Bop,
    Dense,
    DirectFeedback,
    Dropout,
    Fill,
    Layer,
    LogitCrossEntropy,
    OptimizerGroup,
    Parameter,
    Sequential,
    ShiftAdaMax,
    SignSTE,
    check_gradients,
    split_parameters,
)
from minibnn.gradient_clock import Backwards

X = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
LABELS = np.arange(20) % 3


class Scale(Layer):
    """A user's layer that does not call `take_saved`."""

    def __init__(self):
        self.scale = Parameter("scale", (4,), Fill(1.0))

    def forward(self, x, *, train=False):
        self.x = x
        return x * self.scale.data

    def backward(self, dy, *, need_dx=True):
        self.scale.grad[...] = (dy * self.x).sum(axis=0)
        return dy * self.scale.data


def network():
    return Sequential(
        Dense(4, 6, weight_quantizer=SignSTE(), weight_bound=1.0),
        BatchNorm(6),
        Dropout(0.2),
        Activation(SignSTE(clip=1.0)),
        Dense(6, 3, weight_quantizer=SignSTE(), lr_scale=2.0),
    ).initialize(0)


def group(parameters, model):
    binary, rest = split_parameters(model)
    return OptimizerGroup(Bop(binary, gamma=0.1), Adam(rest, 0.01))


OPTIMIZERS = {
    "sgd": lambda p, _: SGD(p, 0.1, momentum=0.9),
    "adam": lambda p, _: Adam(p, 0.01),
    "adamax": lambda p, _: AdaMax(p, 0.01),
    "shift": lambda p, _: ShiftAdaMax(p, 2**-6),
    "group": group,
}
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda pair: pickle.loads(pickle.dumps(pair))}


def pair(name="adam"):
    model = network()
    return model, OPTIMIZERS[name](model.parameters(), model)


def train(model, optimizer, steps=3, loss=None):
    """README's training loop; returns the trained weights as bytes."""
    loss = LogitCrossEntropy() if loss is None else loss
    for _ in range(steps):
        loss.forward(model.forward(X, train=True), LABELS)
        model.backward(loss.backward(), need_dx=False)
        optimizer.step()
    return b"".join(p.data.tobytes() for p in model.parameters())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("trained", [0, 2])
def test_an_optimiser_that_left_its_model_behind(name, duplicate, trained):
    model, optimizer = pair(name)
    train(model, optimizer, trained)
    ghost = duplicate(optimizer)
    before = [p.data.copy() for o in (optimizer, ghost) for p in o.parameters]
    with pytest.raises(RuntimeError, match=r"got one of another model.*copy, pickle or load both"):
        train(model, ghost)
    after = [p.data for o in (optimizer, ghost) for p in o.parameters]
    assert all((a == b).all() for a, b in zip(after, before, strict=True))
    train(model, optimizer)  # which works as before


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("trained", [0, 2])
def test_a_model_that_left_its_optimiser_behind(name, duplicate, trained):
    model, optimizer = pair(name)
    train(model, optimizer, trained)
    other = duplicate(model)
    with pytest.raises(RuntimeError, match=r"or make a new optimiser of that model's parameters"):
        train(other, optimizer)
    train(other, OPTIMIZERS[name](other.parameters(), other))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_both_together_go_the_same_way_to_the_last_byte(name, duplicate):
    one = pair(name)
    train(*one, 2)
    other = duplicate(one)
    swapped = duplicate(one[::-1])[::-1]
    inside = duplicate({"optimizer": one[1], "of": [one[0]]})
    expected = train(*one)
    assert train(*other) == expected
    assert train(*swapped) == expected
    assert train(inside["of"][0], inside["optimizer"]) == expected
    assert train(*other) == train(*one)


def test_between_a_backward_and_its_step():
    model, optimizer = pair()
    loss = LogitCrossEntropy()
    loss.forward(model.forward(X, train=True), LABELS)
    model.backward(loss.backward(), need_dx=False)
    other = copy.deepcopy((model, optimizer))
    optimizer.step()
    other[1].step()
    assert all(
        (a.data == b.data).all()
        for a, b in zip(model.parameters(), other[0].parameters(), strict=True)
    )


def test_one_of_a_group_that_is_a_ghost():
    model = network()
    binary, rest = split_parameters(model)
    bop, adam = Bop(binary), Adam(rest)
    before = [p.data.copy() for p in model.parameters()]
    for mixed in ((copy.deepcopy(bop), adam), (bop, copy.deepcopy(adam))):
        with pytest.raises(RuntimeError, match="expected a backward that sets gradients of its"):
            train(model, OptimizerGroup(*mixed))
    # None of them stepped.
    assert all((p.data == b).all() for p, b in zip(model.parameters(), before, strict=True))


def test_a_loss_between_its_forward_and_its_backward_copied_with_both_or_alone():
    model, optimizer = pair()
    loss = LogitCrossEntropy()
    loss.forward(model.forward(X, train=True), LABELS)
    together = copy.deepcopy((model, loss, optimizer))
    model.backward(copy.deepcopy(loss).backward(), need_dx=False)
    optimizer.step()
    together[0].backward(together[1].backward(), need_dx=False)
    together[2].step()
    pairs = zip(model.parameters(), together[0].parameters(), strict=True)
    assert all((a.data == b.data).all() for a, b in pairs)


def test_what_is_no_ghost():
    model, optimizer = pair()
    other, others = pair("sgd")
    loss, loss2 = LogitCrossEntropy(), LogitCrossEntropy()
    train(model, optimizer)
    optimizer.step()  # the same gradients again: unusual, but explicit
    optimizer.step()
    train(other, others)
    # Two models in turn, all backwards before all steps.
    for _ in range(2):
        loss.forward(model.forward(X, train=True), LABELS)
        loss2.forward(other.forward(X, train=True), LABELS)
        model.backward(loss.backward())
        other.backward(loss2.backward())
        optimizer.step()
        others.step()
    # A copy runs in between.
    loss.forward(model.forward(X, train=True), LABELS)
    model.backward(loss.backward())
    check_gradients(Dense(4, 2), X.astype(np.float64))
    optimizer.step()


def test_parameters_that_nothing_runs_through():
    model, idle = Dense(4, 3).initialize(0), Dense(9, 9).initialize(0)
    before = idle.weight.data.copy()
    train(model, SGD([*model.parameters(), *idle.parameters()], 0.1))
    assert (idle.weight.data == before).all()


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_copy_begins_anew(duplicate):
    """In another process the clock may be far behind that of the process that wrote the pickle."""
    model, optimizer = pair()
    for p in model.parameters():
        p._used = 10**15
    with pytest.raises(RuntimeError, match="another model"):
        train(model, duplicate(optimizer))


def test_gradients_written_by_hand():
    model, optimizer = pair()
    train(*pair())
    for p in model.parameters():
        p.grad[...] = 1
    optimizer.step()
    optimizer.store.grad[...] = 2  # all at once, with no other backward in between
    optimizer.step()


def test_layers_of_a_users_own():
    """They need not call `take_saved`, so their backward may go unnoticed."""
    model = Scale().initialize(0)
    optimizer = SGD(model.parameters(), 0.1)
    other = pair()
    for _ in range(2):
        train(*other)
        model.forward(X, train=True)
        model.backward(X)
        optimizer.step()
    whole = Sequential(Scale(), Dense(4, 3)).initialize(0)
    train(whole, Adam(whole.parameters()))
    with pytest.raises(RuntimeError, match="another model"):
        train(copy.deepcopy(whole), Adam(whole.parameters()))


def test_direct_feedback():
    def make():
        return DirectFeedback(Sequential(Dense(4, 5), BatchNorm(5)), Dense(5, 3)).initialize(0)

    model = make()
    optimizer = Adam(model.parameters())
    train(model, optimizer)
    with pytest.raises(RuntimeError, match="another model"):
        train(make(), optimizer)


def test_the_look_waits_for_no_device():
    model = network().to(STRICT)
    optimizer = Adam(model.parameters(), 0.01)
    x, labels = STRICT.asarray(X), STRICT.asarray(LABELS)
    loss = LogitCrossEntropy()
    with strictdev.no_sync():
        for _ in range(2):
            loss.forward(model.forward(x, train=True), labels)
            model.backward(loss.backward(), need_dx=False)
            optimizer.step()


def test_what_a_pickle_held_before_this_look_can_be_read():
    p = network()[0].weight
    state = {k: v for k, v in vars(p).items() if k not in ("_used", "quantizer")}
    assert set(state) >= {"data", "grad", "name", "shape"}
    old = Parameter.__new__(Parameter)
    vars(old).update(state)
    assert (old.grad == p.grad).all()
    assert old.quantizer is None


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("whole", [Scale, lambda: Sequential(Scale(), Scale())])
def test_a_model_of_nothing_but_a_users_own_layers(whole, duplicate):
    """None of its layers calls `take_saved`; the loss or the Sequential advances the clock."""
    model = whole().initialize(0)
    optimizer = SGD(model.parameters(), 0.1)
    train(model, optimizer)
    with pytest.raises(RuntimeError, match="another model"):
        train(model, duplicate(optimizer))


def test_gradients_of_copies_are_put_together_in_the_store():
    """As with several processes: each copy has a part of the batch, and one store gets the mean."""
    model, optimizer = pair()
    copies = [copy.deepcopy((model, optimizer)) for _ in range(2)]
    loss = LogitCrossEntropy()
    for _ in range(3):
        for i, (each, _) in enumerate(copies):
            loss.forward(each.forward(X[i::2], train=True), LABELS[i::2])
            each.backward(loss.backward(), need_dx=False)
        optimizer.store.grad[...] = sum(own.store.grad for _, own in copies) / 2
        optimizer.step()
    with pytest.raises(RuntimeError, match="another model"):
        train(copies[0][0], optimizer)  # its own check of the gradients does not count as a use


def test_the_clock_advances_with_a_backward_only():
    model, loss = network().initialize(0), LogitCrossEntropy()
    start = Backwards.last
    loss.forward(model.forward(X, train=True), LABELS)
    assert Backwards.last == start
    dy = loss.backward()
    after_loss = Backwards.last
    model.backward(dy)
    assert start < after_loss < Backwards.last
