"""Optimisers against numbers worked out step by step, and the flat store that they live on."""

from __future__ import annotations

import copy
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
from cases_of_operations import adam_scalars

from minibnn import (
    SGD,
    Adam,
    AdaMax,
    BatchNorm,
    Bop,
    Constant,
    Cosine,
    Dense,
    DivergedError,
    Exponential,
    Fill,
    OptimizerGroup,
    Parameter,
    PerEpoch,
    Sequential,
    ShiftAdaMax,
    SignSTE,
)
from minibnn.backend import NotFinite
from minibnn.backend.cpu.adam import BLOCK
from minibnn.optimizers import Descent
from minibnn.optimizers.adam import adam
from minibnn.optimizers.adamax import adamax, shift_adamax
from minibnn.optimizers.bop import bop
from minibnn.optimizers.sgd import sgd
from minibnn.parameter import ALIGNMENT, FlatStore


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
@pytest.mark.parametrize("size", [1, 1000, BLOCK, 2 * BLOCK + 3])
def test_fast_adam_equals_its_reference(dtype, bound, size, backend, rng):
    if backend.name == "strict":
        pytest.skip("the stand-in has only the reference")
    plain = [rng.standard_normal(size).astype(dtype) for _ in range(2)]
    plain += [np.zeros(size, dtype), np.zeros(size, dtype)]
    fast = [backend.asarray(a.copy()) for a in plain]
    for step in range(1, 6):
        plain[1] = rng.standard_normal(size).astype(dtype)
        fast[1] = backend.asarray(plain[1].copy())
        scalars = adam_scalars(0.01, step)
        adam(*plain, *scalars, 0.9, 0.999, bound)
        backend.run(adam, *fast, *scalars, 0.9, 0.999, bound)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12  # float32: the two round in another order
    for a, b in zip(plain, fast, strict=True):
        np.testing.assert_allclose(backend.to_host(b), a, rtol=tolerance, atol=tolerance)


# Each rule's number of arrays, its scalars, and a step of it in exact arithmetic on one element.
def exactly_sgd(w, g, u, learning_rate, momentum, bound):
    u = momentum * u + g
    return into(w - learning_rate * u, bound), u


def exactly_adam(w, g, m, v, alpha_t, epsilon_hat, beta1, beta2, bound):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return into(w - alpha_t * m / (math.sqrt(v) + epsilon_hat), bound), m, v


def exactly_adamax(w, g, m, u, alpha_t, beta1, beta2, epsilon, bound):
    m = beta1 * m + (1 - beta1) * g
    u = max(beta2 * u, abs(g) + epsilon)
    return into(w - alpha_t * m / u, bound), m, u


def exactly_shift_adamax(w, g, m, v, alpha_t, beta1, beta2, epsilon, bound):
    m = beta1 * m + (1 - beta1) * g
    v = max(beta2 * v, abs(g) + epsilon)
    return into(w - alpha_t * m / 2.0 ** round(math.log2(v)), bound), m, v


def exactly_bop(w, g, m, gamma, keep, threshold):
    m = keep * m + gamma * g
    return -w if abs(m) > threshold and m * w > 0 else w, m


def into(w, bound):
    return w if bound is None else min(max(w, -bound), bound)


RULES = {
    sgd: (exactly_sgd, (0.1, 0.9, None)),
    adam: (exactly_adam, (0.02, 1e-3, 0.9, 0.99, None)),
    adamax: (exactly_adamax, (0.02, 0.9, 0.99, 1e-3, None)),
    shift_adamax: (exactly_shift_adamax, (2.0**-5, 7 / 8, 0.99, 1e-3, None)),
    bop: (exactly_bop, (0.1, 0.9, 0.2)),
}


@pytest.mark.parametrize("bound", [None, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_rule_is_the_papers(rule, dtype, bound, backend, rng):
    """One element after another in Python's floats, which are float64."""
    exactly, scalars = RULES[rule]
    if rule is not bop:
        scalars = (*scalars[:-1], bound)
    elif bound is not None:
        pytest.skip("it knows no bound")
    arrays = 4 - (rule in (sgd, bop))
    w, g, *state = rng.uniform(0.1, 1, (arrays, 200)).astype(dtype)
    w[::2], g[::3] = -w[::2], -g[::3]
    if rule is bop:
        w[...] = np.where(w >= 0, 1, -1)
        state[0][::5] *= -1
    expected = [
        exactly(*map(float, element), *scalars) for element in zip(w, g, *state, strict=True)
    ]
    arrays = [backend.asarray(a.copy()) for a in (w, g, *state)]
    with backend.update():
        backend.run(rule, *arrays, *scalars)
    got = [backend.to_host(arrays[0]), *(backend.to_host(a) for a in arrays[2:])]
    assert all(a.dtype == dtype for a in got)
    np.testing.assert_array_equal(backend.to_host(arrays[1]), g)  # the gradient is not changed
    # Some five roundings of numbers up to 1.
    tolerance = 3e-7 if dtype == np.float32 else 1e-15
    np.testing.assert_allclose(np.transpose(got), expected, rtol=tolerance, atol=tolerance)
    assert (got[0] != w).any()


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
def test_a_refused_step_changes_nothing(make, device):
    model = Dense(5, 4, bias=False, weight_quantizer=SignSTE()).initialize(0).to(device)
    optimizer = make(model.parameters())
    xp = device.xp

    def state():
        arrays = [v for v in vars(optimizer).values() if isinstance(v, device.array_type)]
        return [device.to_host(a).copy() for a in (optimizer.store.data, *arrays)]

    model.weight.grad[...] = 1.0
    with device.update(allowed=xp.isfinite(xp.zeros(()))):
        optimizer.step()
    before = state()
    assert len(before) >= 2
    model.weight.grad[...] = 2.0
    with device.update(allowed=xp.isfinite(xp.full((), float("nan")))):
        optimizer.step()
    for a, b in zip(before, state(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert before[0].any()
    model.weight.grad[...] = float("nan")
    optimizer.step()
    for a, b in zip(before, state(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_write_is_whole_or_none(backend):
    old = [backend.asarray(np.array([1.0, 2.0])) for _ in range(2)]
    good, bad = (backend.asarray(np.array(a)) for a in ([3.0, 4.0], [np.inf, 4.0]))

    def write(*new):
        backend.masked_write(*zip(old, new, strict=True))
        return [backend.to_host(a).tolist() for a in old]

    for pair in ((good, bad), (bad, good)):
        if backend.host:
            with pytest.raises(NotFinite, match="expected finite values, got") as caught:
                write(*pair)
            assert caught.value.array is bad
        else:
            write(*pair)
        assert [backend.to_host(a).tolist() for a in old] == [[1.0, 2.0]] * 2
    assert write(good, good) == [[3.0, 4.0]] * 2


def test_what_overflows_when_it_is_written_is_not_written(backend):
    """A float64 may be finite, and too large for the float32 that it is written into."""
    w = backend.asarray(np.ones(2, np.float32))
    new = backend.asarray(np.array([2, 1e300]))
    with pytest.raises(NotFinite) if backend.host else nullcontext():
        backend.masked_write((w, new))
    assert backend.to_host(w).tolist() == [1, 1]
    backend.masked_write((w, new * 1e-300))
    assert backend.to_host(w).tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(), (0,), (2, 1)])
def test_arrays_of_any_shape_are_written(shape, backend):
    w = backend.asarray(np.ones(shape, np.float32))
    backend.masked_write((w, w + 1))
    assert (backend.to_host(w) == 2).all()


def test_a_device_keeps_the_verdict_of_an_update(device):
    """What is not finite refuses all that is written after it, in updates inside of it, too."""
    xp, nan = device.xp, float("nan")
    a, allowed = xp.zeros(2), xp.ones((), bool)

    def write(value):
        device.masked_write((a, xp.full(2, value)))
        return device.to_host(a)[0]

    assert device.allowed is None
    assert write(1.0) == 1
    assert write(nan) == 1
    assert write(2.0) == 2, "each write outside of an update is one for itself"
    with device.update(allowed):
        assert device.allowed is allowed
        assert device.all_finite(xp.zeros(3)) is True
        assert write(3.0) == 3
        with device.update():
            assert device.allowed is allowed
            assert device.all_finite(xp.asarray([0.0, nan])) is True
        assert write(4.0) == 3
        with device.update(xp.ones((), bool)):
            assert write(5.0) == 5
        assert device.allowed is allowed
    assert not bool(allowed)
    assert device.allowed is None
    with pytest.raises(ZeroDivisionError), device.update(allowed):
        1 / 0  # noqa: B018
    assert device.allowed is None


def test_each_thread_has_an_update_of_its_own(device):
    with ThreadPoolExecutor(1) as pool, device.update():
        assert device.allowed is not None
        assert pool.submit(lambda: device.allowed).result() is None


@pytest.mark.parametrize(
    "make", [lambda xp: True, lambda xp: xp.ones(1, bool), lambda xp: xp.ones(())]
)
def test_only_a_truth_refuses_an_update(make, backend):
    with pytest.raises(TypeError, match="update: expected allowed to be a 0-d boolean, got"):
        backend.update(allowed=make(backend.xp))


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
    """And nothing that an optimiser does changes the zeros between them, or is changed by them."""
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
    p.grad[...] = np.nan
    for _ in range(50):
        with pytest.raises(DivergedError):
            optimizer.step()
    assert optimizer.steps == 0
    p.grad[...] = -1.0
    optimizer.step()
    np.testing.assert_allclose(p.data, [0.1], rtol=1e-6)


class Slowing(Descent):
    """An optimiser of a user's own: it overrides nothing but public methods."""

    def scalars(self, learning_rate, step):
        return learning_rate / (step + 1), float(step)

    def update(self, segment, scalars):
        rate, step = scalars
        w, g = self.store.data[segment.where], self.store.grad[segment.where]
        new_w = w - rate * g - step
        if segment.bound is not None:
            new_w = self.backend.xp.clip(new_w, -segment.bound, segment.bound)
        self.backend.masked_write((w, new_w))


def test_an_optimiser_of_a_users_own(backend):
    free, slow = parameter([0.0]), parameter([0.0], lr_scale=0.5, bound=1.0)
    for p in (free, slow):
        p.to(backend, np.float64)
    optimizer = Slowing([free, slow], learning_rate=0.5)
    assert optimizer.scalars_at(0) == [(0.5, 0.0), (0.25, 0.0)]
    assert optimizer.scalars_at(4) == [(0.1, 4.0), (0.05, 4.0)]
    path = []
    for _ in range(2):
        for p in (free, slow):
            p.grad[...] = -1.0
        optimizer.step()
        path.append([float(backend.to_host(p.data)[0]) for p in (free, slow)])
    assert path == [[0.5, 0.25], [-0.25, -0.625]]
    assert optimizer.steps == 2


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1), Adam, AdaMax, ShiftAdaMax])
def test_an_update_by_scalars_from_elsewhere(make, device):
    """As in a captured step: 0-d arrays of the device in the places of numbers."""

    def build():
        layers = Sequential(Dense(3, 2, bias=False), binary(2, 2)).initialize(0).to(device)
        for p in layers.parameters():
            p.grad[...] = -0.25
        return layers, make(layers.parameters())

    (one, by_step), (other, by_scalars) = build(), build()
    numbers = by_scalars.scalars_at(0)
    by_step.step()
    assert len(numbers) == len(by_scalars.store.segments) == 2
    by_scalars.update_all(
        [
            tuple(device.asarray(np.array(n, np.float32)) for n in of_segment)
            for of_segment in numbers
        ]
    )
    assert (by_step.steps, by_scalars.steps) == (1, 0)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(device.to_host(p.data), device.to_host(q.data))


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
