"""Optimisers against numbers worked out step by step, and the flat store that they live on."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

from minibnn import (
    SGD,
    Adam,
    AdaMax,
    BatchNorm,
    Bop,
    Constant,
    Cosine,
    Dense,
    Exponential,
    Fill,
    OptimizerGroup,
    Parameter,
    PerEpoch,
    Sequential,
    ShiftAdaMax,
    SignSTE,
)
from minibnn.backend import CPU, AdamStep, Backend
from minibnn.backend.cpu.backend import ADAM_BLOCK
from minibnn.parameter import FlatStore


def parameter(values, **options) -> Parameter:
    values = np.asarray(values, np.float64)
    p = Parameter("w", values.shape, lambda shape, rng: values, **options)
    p.initialize(np.random.default_rng(0), np.float64)
    return p


def trajectory(optimizer, p, gradients):
    path = []
    for g in gradients:
        p.grad[...] = g
        optimizer.step()
        path.append(p.data.tolist())
    return path


def test_adam_three_steps_by_hand():
    p = parameter([1.0])
    path = trajectory(Adam([p], 0.1, beta1=0.8, beta2=0.96, epsilon=1e-3), p, [0.5, -0.25, 1.0])
    # m: .1, .03, .224; v: .01, .0121, .051616; each divided by 1 - beta^t.
    w = 1.0
    expected = []
    for t, (m, v) in enumerate([(0.1, 0.01), (0.03, 0.0121), (0.224, 0.051616)], start=1):
        w -= 0.1 * (m / (1 - 0.8**t)) / (math.sqrt(v / (1 - 0.96**t)) + 1e-3)
        expected.append([w])
    np.testing.assert_allclose(path, expected, rtol=1e-12)


def test_sgd_three_steps_by_hand():
    p = parameter([1.0])
    path = trajectory(SGD([p], 0.1, momentum=0.5), p, [1.0, 2.0, -4.0])
    # u: 1, 2.5, -2.75
    np.testing.assert_allclose(path, [[0.9], [0.65], [0.925]], rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [lambda p: SGD(p, 1.0), lambda p: Adam(p, 1.0), lambda p: AdaMax(p, 1.0)],
    ids=["sgd", "adam", "adamax"],
)
def test_bound_scale_and_order(make):
    bounded = parameter([0.9, -0.9, 0.0], bound=1.0)
    free = parameter([0.9, -0.9, 0.0])
    slow = parameter([0.0], lr_scale=0.125)
    optimizer = make([bounded, free, slow])
    bounded.grad[...] = free.grad[...] = [-1, 1, 0.0]
    slow.grad[...] = -1
    optimizer.step()
    np.testing.assert_array_equal(bounded.data, [1, -1, 0])
    np.testing.assert_allclose(free.data, [1.9, -1.9, 0], rtol=1e-7)
    np.testing.assert_allclose(slow.data, [0.125], rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bound", [None, 0.5])
@pytest.mark.parametrize("size", [1, 1000, ADAM_BLOCK, 2 * ADAM_BLOCK + 3])
def test_fast_adam_equals_its_plain_twin(dtype, bound, size, backend, rng):
    if backend.name == "strict":
        pytest.skip("the stand-in has only the plain body")
    plain = [rng.standard_normal(size).astype(dtype) for _ in range(2)]
    plain += [np.zeros(size, dtype), np.zeros(size, dtype)]
    fast = [backend.asarray(a.copy()) for a in plain]
    for step in range(1, 6):
        plain[1] = rng.standard_normal(size).astype(dtype)
        fast[1] = backend.asarray(plain[1].copy())
        numbers = AdamStep.of(0.01, 0.9, 0.999, 1e-8, step, bound)
        Backend.adam_step(CPU, *plain, numbers)
        backend.adam_step(*fast, numbers)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12  # float32: the two round in another order
    for a, b in zip(plain, fast, strict=True):
        np.testing.assert_allclose(backend.to_host(b), a, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, 0.1, 0.9),
        lambda p: Adam(p),
        lambda p: AdaMax(p),
        lambda p: ShiftAdaMax(p),
        lambda p: Bop(p),
    ],
    ids=["sgd", "adam", "adamax", "shift-adamax", "bop"],
)
def test_a_refused_step_changes_nothing(make, backend):
    model = Dense(5, 4, bias=False, weight_quantizer=SignSTE()).initialize(0).to(backend)
    optimizer = make(model.parameters())
    xp = backend.xp

    def state():
        arrays = [v for v in vars(optimizer).values() if isinstance(v, backend.array_type)]
        return [backend.to_host(a).copy() for a in (optimizer.store.data, *arrays)]

    model.weight.grad[...] = 1.0
    optimizer.step(only_if=xp.isfinite(xp.zeros(())))
    before = state()
    assert len(before) >= 2
    model.weight.grad[...] = float("nan")
    optimizer.step(only_if=xp.isfinite(xp.full((), float("nan"))))
    for a, b in zip(before, state(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert before[0].any()


def test_schedule_is_asked_before_each_update():
    p = parameter([0.0])
    asked = []

    def schedule(t):
        asked.append(t)
        return 10.0**-t

    path = trajectory(SGD([p], schedule), p, [-1, -1, -1])
    np.testing.assert_allclose(path, [[1.0], [1.1], [1.11]])
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(0),
        lambda: Exponential(1, 0, 5),
        lambda: Exponential(1, 0.1, 0),
        lambda: Cosine(-1, 0, 5),
        lambda: Cosine(1, -1, 5),
        lambda: PerEpoch(Constant(1), 0),
        lambda: SGD([parameter([1.0])], float("nan")),
        lambda: SGD([parameter([1.0])], 0.1, momentum=1.0),
        lambda: Adam([parameter([1.0])], -1e-3),
        lambda: Adam([parameter([1.0])], beta1=1.0),
        lambda: Adam([parameter([1.0])], epsilon=0),
        lambda: Adam([]),
        lambda: AdaMax([parameter([1.0])], beta2=1.0),
        lambda: ShiftAdaMax([parameter([1.0])], epsilon=-1.0),
        lambda: Bop([parameter([1.0])], threshold=-1e-9),
        lambda: Bop([parameter([1.0])], gamma=1.5),
        lambda: Bop([parameter([1.0])], gamma=0.0),
    ],
)
def test_settings_that_make_no_sense(make):
    with pytest.raises(ValueError, match="expected"):
        make()


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


def test_alike_parameters_share_a_segment():
    def binary(n, m):
        return Dense(n, m, weight_quantizer=SignSTE(), weight_bound=1.0)

    model = Sequential(binary(5, 4), BatchNorm(4), Dense(4, 3), binary(3, 2)).initialize(0)
    values = [p.data.copy() for p in model.parameters()]
    store = FlatStore(model.parameters())
    spans = [(s.where.start, s.where.stop, s.bound) for s in store.segments]
    # both binary weights; then their biases, the norm and the second layer
    assert spans == [(0, 26, 1.0), (26, 55, None)]
    for p, value in zip(model.parameters(), values, strict=True):
        np.testing.assert_array_equal(p.data, value)
        assert p.data.base is store.data
        assert p.grad.base is store.grad


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


def test_fill_draws_nothing():
    rng = np.random.default_rng(0)
    assert (Fill(2.5)((3, 2), rng) == 2.5).all()
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))],
    ids=["copy", "pickle"],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, 0.1, 0.9),
        lambda p: Adam(p),
        lambda p: ShiftAdaMax(p),
        lambda p: OptimizerGroup(*(Adam([q]) for q in p)),
    ],
    ids=["sgd", "adam", "shift-adamax", "group"],
)
def test_a_copy_of_model_and_optimiser_trains_on_its_own(make, duplicate):
    model = Dense(3, 2).initialize(0)
    pair = (model, make(model.parameters()))

    def step(model, optimizer):
        model.weight.grad[...] = 1.0
        optimizer.step()
        return model.weight.data.copy()

    step(*pair)
    other = duplicate(pair)
    before = model.weight.data.copy()
    np.testing.assert_array_equal(other[0].weight.data, before)
    stepped = step(*other)
    assert (stepped < before).all()
    np.testing.assert_array_equal(model.weight.data, before)  # the original stayed
    np.testing.assert_array_equal(step(*pair), stepped)  # and goes the same way


def test_a_refused_step_does_not_count_on_the_host():
    p = parameter([0.0])
    optimizer = Adam([p], 0.1)
    p.grad[...] = -1.0
    for _ in range(50):
        optimizer.step(only_if=np.bool_(False))
    assert optimizer.steps == 0
    optimizer.step()
    np.testing.assert_allclose(p.data, [0.1], rtol=1e-6)


def test_the_rate_can_be_set():
    p = parameter([0.0])
    optimizer = SGD([p], 0.1)
    optimizer.learning_rate = 0.5
    assert trajectory(optimizer, p, [-1.0]) == [[0.5]]
    optimizer.learning_rate = Exponential(1.0, 0.01, length=2)
    assert optimizer.learning_rate == pytest.approx(0.1)
    with pytest.raises(ValueError, match="SGD: expected a positive learning rate, got -1"):
        optimizer.learning_rate = -1
    assert repr(optimizer) == "SGD(1 parameters, 1 values, next rate 0.1, after 1 steps)"


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
