"""Several optimisers as one: the split of parameters, all-or-none steps, Bop with Adam."""

from __future__ import annotations

import numpy as np
import pytest
import strictdev
from clusters import binary_model, clusters

from minibnn import (
    SGD,
    Activation,
    Adam,
    AdaMax,
    BatchNorm,
    Bop,
    DataLoader,
    Dense,
    DivergedError,
    DoReFaWeights,
    Fill,
    HardTanh,
    Hinge,
    Layer,
    LogitCrossEntropy,
    MeanSquaredError,
    OptimizerGroup,
    Parameter,
    Sequential,
    ShiftAdaMax,
    SignSTE,
    SquaredHinge,
    Ternary,
    evaluate,
    fit,
    split_parameters,
)


def test_split():
    first = Dense(8, 4, weight_quantizer=SignSTE())
    nested = Sequential(Dense(4, 4, weight_quantizer=SignSTE(clip=1.0), bias=False), BatchNorm(4))
    real = Dense(4, 3, weight_quantizer=HardTanh())
    model = Sequential(first, Activation(SignSTE()), nested, real)
    binary, rest = split_parameters(model)
    assert [id(p) for p in binary] == [id(first.weight), id(nested[0].weight)]
    expected = [first.bias, nested[1].gamma, nested[1].beta, real.weight, real.bias]
    assert [id(p) for p in rest] == [id(p) for p in expected]
    assert [len(part) for part in split_parameters(first)] == [1, 1]
    with pytest.raises(TypeError, match="expected model of type Layer"):
        split_parameters(Dense)


@pytest.mark.parametrize("quantizer", [Ternary(), DoReFaWeights(bits=2), HardTanh(), None])
def test_weights_of_more_than_one_bit_are_not_binary(quantizer):
    layer = Dense(4, 3, weight_quantizer=quantizer)
    assert split_parameters(layer) == ([], [layer.weight, layer.bias])
    one_bit = Dense(4, 3, weight_quantizer=DoReFaWeights(bits=1))
    assert split_parameters(one_bit) == ([one_bit.weight], [one_bit.bias])


def test_split_asks_the_layers():
    """`summary`, `fit` and Bop use what a user's layer yields from `named_quantized`."""

    class Own(Layer):
        def __init__(self):
            self.gate, self.offset = (Parameter(n, (3,), Fill(1.0)) for n in ("gate", "offset"))

        def named_quantized(self):
            yield "gate", self.gate, SignSTE()

        def forward(self, x, *, train=False):
            raise NotImplementedError

        def backward(self, dy, *, need_dx=True):
            raise NotImplementedError

    own = Own()
    assert split_parameters(Sequential(own)) == ([own.gate], [own.offset])


def group(model):
    binary, rest = split_parameters(model)
    return OptimizerGroup(Bop(binary, gamma=0.01), Adam(rest, 0.01))


def test_each_optimiser_does_its_part():
    model = Sequential(Dense(3, 2), Dense(2, 2)).initialize(0)
    first, second = SGD(model[0].parameters(), 1.0), SGD(model[1].parameters(), 0.5)
    both = OptimizerGroup(first, second)
    assert [id(p) for p in both.parameters] == [id(p) for p in model.parameters()]
    for p in model.parameters():
        p.data[...] = 0
        p.grad[...] = -1
    both.step()
    assert [p.data.ravel()[0] for p in model.parameters()] == [1, 1, 0.5, 0.5]
    assert (first.steps, second.steps) == (1, 1)


def test_all_or_none():
    model = Sequential(Dense(3, 2), Dense(2, 2)).initialize(0)
    both = OptimizerGroup(SGD(model[0].parameters(), 1.0), SGD(model[1].parameters(), 1.0))
    before = model[0].weight.data.copy()
    model[0].weight.grad[...] = 1
    model[1].weight.grad[...] = np.nan
    with pytest.raises(DivergedError, match=r"the gradient of Parameter\('weight', \(2, 2\)\)"):
        both.step()
    np.testing.assert_array_equal(model[0].weight.data, before)
    model[1].initialize(0)
    with pytest.raises(RuntimeError, match="moved or replaced"):
        both.step()
    np.testing.assert_array_equal(model[0].weight.data, before)


def test_refused():
    model = Sequential(Dense(3, 2), Dense(2, 2)).initialize(0)
    all_of_it, part = list(model.parameters()), list(model[1].parameters())
    with pytest.raises(ValueError, match=r"in one optimiser, got Parameter\('weight', \(2, 2\)"):
        OptimizerGroup(Adam(all_of_it), SGD(part, 0.1))
    same = Adam(all_of_it)
    with pytest.raises(ValueError, match="in one optimiser, got Parameter"):
        OptimizerGroup(same, same)
    with pytest.raises(ValueError, match="at least one optimiser, got none"):
        OptimizerGroup()
    with pytest.raises(TypeError, match="got the class Adam"):
        OptimizerGroup(Adam)


def test_refuses_two_devices(device):
    there, here = Dense(3, 2).initialize(0).to(device), Dense(3, 2).initialize(0)
    with pytest.raises(TypeError, match="expected optimisers on one device"):
        OptimizerGroup(Adam(there.parameters()), Adam(here.parameters()))


def test_fit_refuses_a_group_of_another_model():
    data = DataLoader(clusters(20, 1), 10)
    with pytest.raises(ValueError, match="holds none of the model's parameters"):
        fit(
            binary_model(),
            data,
            data,
            loss=LogitCrossEntropy(),
            optimizer=group(binary_model()),
            epochs=1,
        )


@pytest.mark.parametrize(
    "loss",
    [
        SquaredHinge(),
        Hinge(),
        MeanSquaredError(),
        LogitCrossEntropy(label_smoothing=0.1),
        LogitCrossEntropy(),
    ],
    ids=repr,
)
def test_bop_and_adam_learn_with_every_loss(loss, backend):
    model = binary_model(backend)
    train = DataLoader(clusters(300, 1), 32, shuffle=True, rng=2)
    test = DataLoader(clusters(101, 3), 32)
    binary, _ = split_parameters(model)
    start = [np.where(backend.to_host(p.data) >= 0, 1, -1) for p in binary]
    untrained = evaluate(model, DataLoader(clusters(101, 3), 32).to(backend), loss).loss
    history = fit(model, train, test, loss=loss, optimizer=group(model), epochs=6)
    assert history.acc_test.iloc[-1] > 0.9
    assert history.loss_test.iloc[-1] < 0.7 * untrained
    metrics = evaluate(model, DataLoader(clusters(101, 3), 7).to(backend), loss)
    assert metrics.loss == pytest.approx(history.loss_test.iloc[-1], rel=1e-5)
    for p, signs in zip(binary, start, strict=True):
        assert set(np.unique(backend.to_host(p.data))) == {-1, 1}
        assert (backend.to_host(p.data) != signs).any()


@pytest.mark.parametrize(
    "make", [lambda p: AdaMax(p, 0.02), lambda p: ShiftAdaMax(p, 2**-6)], ids=["adamax", "shift"]
)
def test_adamax_learns(make, backend):
    model = binary_model(backend)
    train = DataLoader(clusters(300, 1), 32, shuffle=True, rng=2)
    test = DataLoader(clusters(101, 3), 32)
    optimizer = make(model.parameters())
    history = fit(model, train, test, loss=SquaredHinge(), optimizer=optimizer, epochs=8)
    assert history.acc_test.iloc[-1] > 0.9


def test_a_step_waits_for_nothing(device, rng):
    model = binary_model(device)
    optimizer = group(model)
    x = device.asarray(rng.standard_normal((10, 8)).astype(np.float32))
    integers = device.asarray(rng.integers(0, 3, 10))
    rows = device.asarray(rng.dirichlet(np.ones(3), 10).astype(np.float32))
    losses = (Hinge(), SquaredHinge(), MeanSquaredError(), LogitCrossEntropy(0.1))
    with strictdev.no_sync():
        for loss in losses:
            for labels in (integers, rows):
                value = loss.forward(model.forward(x, train=True), labels)
                model.backward(loss.backward(), need_dx=False)
                with device.update(allowed=device.xp.isfinite(value)):
                    optimizer.step()
