"""Parameters, and the flat store that holds them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from optimizer_cases import parameter

from minibnn import (
    SGD,
    Adam,
    BatchNorm,
    Dense,
    Sequential,
    SignSTE,
)
from minibnn.parameter import ALIGNMENT, FlatStore


def test_initialisers_are_copied():
    mine = np.zeros((2, 2), np.float32)
    layer = Dense(2, 2, weight_init=lambda shape, rng: mine).initialize(0)
    layer.weight.data[...] = 1
    assert not mine.any()


def test_parameters_become_views_of_one_store(backend):
    model = Sequential(Dense(5, 4), BatchNorm(4), Dense(4, 3)).initialize(0).to(backend)
    values = [backend.to_host(p.data).copy() for p in model.parameters()]
    store = FlatStore(model.parameters())
    assert store.data.shape == (sum(p.size for p in model.parameters()),)
    np.testing.assert_array_equal(
        backend.to_host(store.data), np.concatenate([v.ravel() for v in values])
    )
    store.data[...] = 7
    assert all((backend.to_host(p.data) == 7).all() for p in model.parameters())
    model[0].weight.grad[...] = 3
    assert (backend.to_host(store.grad)[:20] == 3).all()


def binary(n, m):
    return Dense(n, m, weight_quantizer=SignSTE(), weight_bound=1.0)


def test_alike_parameters_share_a_segment():
    model = Sequential(binary(5, 4), BatchNorm(4), Dense(4, 3), binary(3, 2)).initialize(0)
    values = [p.data.copy() for p in model.parameters()]
    store = FlatStore(model.parameters())
    spans = [(s.where.start, s.where.stop, s.bound) for s in store.segments]
    # both binary weights; then their biases, the norm and the second layer
    assert spans == [(0, 26, 1.0), (64, 93, None)]
    for p, value in zip(model.parameters(), values, strict=True):
        np.testing.assert_array_equal(p.data, value)
        assert p.data.base is store.data
        assert p.grad.base is store.grad


@pytest.mark.parametrize("size", [1, 63, 64, 65, 128])
def test_segments_begin_at_boundaries(size, backend):
    """The zeros between them stay zero, and have no influence on an update."""
    parameters = [parameter(np.ones(size), lr_scale=1.0 + i) for i in range(3)]
    for p in parameters:
        p.to(backend, np.float64)
        p.grad[...] = 1.0
    optimizer = Adam(parameters, 0.1)
    starts = [s.where.start for s in optimizer.store.segments]
    assert starts == [i * ALIGNMENT * -(-size // ALIGNMENT) for i in range(3)]
    assert [s.where.stop - s.where.start for s in optimizer.store.segments] == [size] * 3
    optimizer.step()
    for a in (optimizer.store.data, optimizer.store.grad, optimizer._m, optimizer._v):
        a = backend.to_host(a)
        between = np.ones(a.size, bool)
        for segment in optimizer.store.segments:
            between[segment.where] = False
        assert (a[between] == 0).all()
        assert a[~between].all()
    assert f"3 parameters, {3 * size:,} values" in repr(optimizer)


def test_a_backward_writes_straight_into_the_store():
    model = Dense(3, 2, bias=False).initialize(0)
    optimizer = SGD(model.parameters(), 1.0)
    before = model.weight.data.copy()
    x, dy = np.ones((1, 3), np.float32), np.ones((1, 2), np.float32)
    model.forward(x, train=True)
    model.backward(dy)
    optimizer.step()
    np.testing.assert_allclose(model.weight.data, before - 1, rtol=1e-6)


@pytest.mark.parametrize(
    "lose",
    [
        lambda model: model.initialize(1),
        lambda model: model.to(dtype=np.float64),
        lambda model: Adam(model.parameters()),
        lambda model: setattr(model.weight, "data", model.weight.data.copy()),
        lambda model: setattr(model.weight, "grad", model.weight.grad.copy()),
    ],
    ids=["initialize", "to", "second optimiser", "data", "grad"],
)
def test_an_optimiser_that_lost_its_parameters_says_so(lose):
    model = Dense(3, 2).initialize(0)
    optimizer = Adam(model.parameters())
    lose(model)
    with pytest.raises(RuntimeError, match="moved or replaced after the optimiser was made"):
        optimizer.step()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: [Dense(2, 2).weight], RuntimeError, r"call model.initialize\(rng\) before making"),
        (lambda: Dense(2, 2).initialize(0), TypeError, r"pass model.parameters\(\)"),
        (lambda: Dense(2, 2).parameters, TypeError, r"pass model.parameters\(\)"),
        (lambda: [np.zeros(3)], TypeError, r"pass model.parameters\(\)"),
        (lambda: [parameter([1.0])] * 2, ValueError, "each parameter once"),
        (
            lambda: [parameter([1.0]), Dense(2, 2).initialize(0).weight],
            ValueError,
            "one backend and one dtype, got .*float32.*float64",
        ),
    ],
)
def test_store_refuses(make, error, message):
    with pytest.raises(error, match=message):
        FlatStore(make())


def test_bound_and_scale_are_fixed():
    with pytest.raises(AttributeError):
        parameter([1.0]).bound = 0.5


def test_an_optimiser_that_lost_its_parameters_cannot_be_copied_back_to_life():
    model = Dense(3, 2).initialize(0)
    stale = Adam(model.parameters())
    live = Adam(model.parameters())
    with pytest.raises(RuntimeError, match="moved or replaced"):
        copy.deepcopy((model, live, stale))
    copy.copy(live.store)
    live.step()
