"""Copies of a model for the parts of one rank."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from clusters import clusters
from own_optimizers import WithoutState

from minibnn import (
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Dense,
    DirectFeedback,
    Dropout,
    Layer,
    LogitCrossEntropy,
    OptimizerGroup,
    Sequential,
    SignSTE,
    StochasticSign,
)
from minibnn.distributed.replicas import Replica, at_sample, stateful, streams_of_samples
from minibnn.optimizers.clipping import gradient_holders
from minibnn.random_stream import RandomStream


class Counter(Layer):
    """Has a state of its own."""

    def __init__(self):
        self.count = 0

    def forward(self, x, *, train=False):
        self.count += train
        return x

    def backward(self, dy, *, need_dx=True):
        return dy

    def state(self):
        return {**super().state(), "count": self.count}

    def restore(self, state):
        super().restore(state)
        self.count = state["count"]


def network():
    return Sequential(
        Dropout(0.3),
        Dense(8, 6, weight_quantizer=StochasticSign()),
        BatchNorm(6),
        Counter(),
        Activation(StochasticSign(clip=1.0)),
        Dense(6, 3),
    ).initialize(0)


def step(model, seed=0):
    """A forward and a backward on some batch; the loss."""
    loss = LogitCrossEntropy()
    value = loss.forward(model.forward(clusters(12, seed)[0], train=True), clusters(12, seed)[1])
    model.backward(loss.backward(), need_dx=False)
    return float(value)


def flat(model):
    return {name: p.grad.copy() for name, p in model.named_parameters()}


MAKERS = {
    "flat": lambda parameters: SGD(parameters, 0.1),
    "single": WithoutState,
    "group": lambda parameters: OptimizerGroup(Adam(parameters[:2], 0.1), SGD(parameters[2:], 0.1)),
    "some": lambda parameters: SGD(parameters[3:], 0.1),
}


@pytest.mark.parametrize("name", MAKERS)
def test_values_are_shared_and_gradients_are_not(name):
    model = network()
    optimizer = MAKERS[name](list(model.parameters()))
    replica = Replica(model, gradient_holders(optimizer))
    for p, its in zip(model.parameters(), replica.model.parameters(), strict=True):
        assert its is not p
        assert np.shares_memory(its.data, p.data)
        assert not np.shares_memory(its.grad, p.grad)
    own = flat(model)
    step(replica.model)
    assert all((flat(model)[name] == own[name]).all() for name in own)


@pytest.mark.parametrize("name", MAKERS)
def test_its_gradients_are_those_of_the_holders(name):
    model = network()
    optimizer = MAKERS[name](list(model.parameters()))
    holders = gradient_holders(optimizer)
    replica = Replica(model, holders)
    step(replica.model)
    step(model)  # with the same random numbers
    assert len(replica.gradients) == len(holders)
    for holder, gradient in zip(holders, replica.gradients, strict=True):
        assert holder.grad.tobytes() == gradient.tobytes()
        assert abs(gradient).max() > 0


def test_it_follows_what_a_step_changes():
    """Also if it has made another step itself, or none."""
    model = network()
    optimizer = SGD(model.parameters(), 0.1)
    replica = Replica(model, gradient_holders(optimizer))
    for seed in range(3):
        step(model, seed)
        optimizer.step()
        if seed == 1:
            step(replica.model, 7)
        replica.follow()
        assert replica.model.layers[3].count == seed + 1
        for b, its in zip(model.buffers(), replica.model.buffers(), strict=True):
            assert b.data.tobytes() == its.data.tobytes()
            assert not np.shares_memory(b.data, its.data)
        own, copied = ([part.state() for part in stateful(m)] for m in (model, replica.model))
        assert repr(own) == repr(copied)
    assert [part.count for part in stateful(model) if isinstance(part, RandomStream)] == [3]
    replica.follow()
    copied = step(replica.model, 9)
    assert step(model, 9) == copied


def test_it_does_not_follow_attributes_but_it_can_be_renewed():
    model = network()
    optimizer = SGD(model.parameters(), 0.1)
    replica = Replica(model, gradient_holders(optimizer))
    gradients = [id(gradient) for gradient in replica.gradients]
    model.layers[0].rate = 0.9
    replica.follow()
    assert replica.model.layers[0].rate == 0.3
    replica.renew()
    assert replica.model.layers[0].rate == 0.9
    assert [id(gradient) for gradient in replica.gradients] == gradients
    copied = step(replica.model)
    assert step(model) == copied
    assert optimizer.store.grad.tobytes() == replica.gradients[0].tobytes()


def test_matrices_that_the_first_forward_draws():
    model = DirectFeedback(Sequential(Dense(8, 6), Activation(SignSTE(clip=1.0))), Dense(6, 3))
    model.initialize(0)
    optimizer = SGD(model.parameters(), 0.1)
    replica = Replica(model, gradient_holders(optimizer))
    replica.follow()
    step(replica.model)
    step(model)
    assert optimizer.store.grad.tobytes() == replica.gradients[0].tobytes()
    replica.follow()
    (own,), (its,) = model.buffers(), replica.model.buffers()
    assert own.data.tobytes() == its.data.tobytes()
    assert not np.shares_memory(own.data, its.data)


def test_streams_of_weights_do_not_belong_to_samples():
    model = network()
    dropout, dense, _, _, activation, _ = model.layers
    assert list(streams_of_samples(model)) == [dropout.stream, activation.function.stream]
    assert dense.weight_quantizer.stream not in list(streams_of_samples(model))


def test_at_sample():
    class Noisy(LogitCrossEntropy):
        def __init__(self):
            super().__init__()
            self.stream = RandomStream()

    model, loss = network(), Noisy()
    streams = [*streams_of_samples(model), loss.stream]
    with suppress(KeyError), at_sample(5, model, loss):
        assert [stream.first_sample for stream in streams] == [5] * 3
        assert model.layers[1].weight_quantizer.stream.first_sample == 0
        raise KeyError
    assert [stream.first_sample for stream in streams] == [0] * 3
