"""Every optimiser: its rule in exact arithmetic, refused steps, settings, copies."""

from __future__ import annotations

import copy
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from optimizer_cases import parameter, path

from minibnn import (
    SGD,
    Adam,
    AdaMax,
    AdamW,
    BatchNorm,
    Bop,
    Constant,
    Cosine,
    Dense,
    DivergedError,
    Exponential,
    OptimizerGroup,
    PerEpoch,
    ShiftAdaMax,
    SignSTE,
)
from minibnn.optimizers.adam import adam
from minibnn.optimizers.adamax import adamax, shift_adamax
from minibnn.optimizers.bop import bop
from minibnn.optimizers.sgd import sgd


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


# Each rule's scalars, and one step of it on a single element in double precision.
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
    """Computed element by element with Python's floats, which are float64."""
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
    # About five roundings of numbers up to 1.
    tolerance = 3e-7 if dtype == np.float32 else 1e-15
    np.testing.assert_allclose(np.transpose(got), expected, rtol=tolerance, atol=tolerance)
    assert (got[0] != w).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, 0.1, 0.9),
        lambda p: Adam(p),
        lambda p: AdamW(p),
        lambda p: AdaMax(p),
        lambda p: ShiftAdaMax(p),
        lambda p: Bop(p),
    ],
    ids=["sgd", "adam", "adamw", "adamax", "shift-adamax", "bop"],
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
        lambda: Adam([]),
        lambda: Bop([parameter([1.0])], threshold=-1e-9),
        lambda: Bop([parameter([1.0])], gamma=1.5),
        lambda: Bop([parameter([1.0])], gamma=0.0),
    ],
)
def test_settings_that_make_no_sense(make):
    with pytest.raises(ValueError, match="expected"):
        make()


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
    np.testing.assert_array_equal(model.weight.data, before)  # the original did not change
    np.testing.assert_array_equal(step(*pair), stepped)  # and takes the same step


GRADIENTS = [5, -1, 3]


# How much each of the three steps subtracts, for a parameter without lr_scale.
STEPS = {
    # u: 5, 5/2 - 1, 3/4 + 3; each times 1/4
    "sgd": (
        lambda p: SGD(p, 1 / 4, momentum=1 / 2),
        [Fraction(5, 4), Fraction(3, 8), Fraction(15, 16)],
    ),
    # m, a mean: 5/2, 5/4 - 1/2 = 3/4, 3/8 + 3/2 = 15/8; over 1 - 1/2^t: 5, 1, 15/7
    # v, a mean of squares: 25/2, 25/4 + 1/2 = 27/4, 27/8 + 9/2 = 63/8; over 1 - 1/2^t: 25, 9, 9
    # step: 1/4 of 5/(5+1), 1/(3+1), 15/7/(3+1)
    "adam": (
        lambda p: Adam(p, 1 / 4, beta1=1 / 2, beta2=1 / 2, epsilon=1.0),
        [Fraction(5, 24), Fraction(1, 16), Fraction(15, 112)],
    ),
    # m and its correction as Adam's; u: 5, max(15/4, 1) = 15/4, max(45/16, 3) = 3
    # step: 1/4 of 5/5, 1/(15/4), 15/7/3
    "adamax": (
        lambda p: AdaMax(p, 1 / 4, beta1=1 / 2, beta2=3 / 4, epsilon=2**-60),
        [Fraction(1, 4), Fraction(1, 15), Fraction(5, 28)],
    ),
    # m as before, not corrected; 5/16 over 1 - 1/2^t: 5/8, 5/12, 5/14, and log2 of these is -0.68,
    # -1.26, -1.49, so all are rounded to 1/2
    # v: 5, max(25/16, 1) = 25/16, max(125/256, 3) = 3, rounded: 4, 2, 4 (log2 3 is 1.585).
    # If the rounded v were stored, the second one would be max(20/16, 1), rounded 1.
    # step: 1/2 of 5/2 / 4, 3/4 / 2, 15/8 / 4
    "shift-adamax": (
        lambda p: ShiftAdaMax(p, 5 / 16, beta1=1 / 2, beta2=5 / 16, epsilon=2**-60),
        [Fraction(5, 16), Fraction(3, 16), Fraction(15, 64)],
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", STEPS)
def test_three_steps(name, dtype, backend):
    make, (a, b, c) = STEPS[name]
    free = parameter([1.0], backend, dtype)
    # With a bound of 3.5 a and a scale of 4, two steps stay inside the bound, the third does not.
    edge = float(7 * a / 2)
    scaled = parameter([edge], backend, dtype, lr_scale=4.0, bound=edge)
    got_free, got_scaled = path(make([free, scaled]), GRADIENTS, free, scaled)
    expected_free = [1 - a, 1 - a - b, 1 - a - b - c]
    expected_scaled = [-a / 2, -a / 2 - 4 * b, -7 * a / 2]
    assert -a / 2 - 4 * b - 4 * c < -7 * a / 2 < -a / 2 - 4 * b
    rtol = 1e-6 if dtype == np.float32 else 1e-12  # a few roundings of the dtype
    for got, expected in ((got_free, expected_free), (got_scaled, expected_scaled)):
        assert all(v.dtype == dtype for v in got)
        np.testing.assert_allclose(
            np.concatenate(got), [float(w) for w in expected], rtol=rtol, atol=rtol / 10
        )


@pytest.mark.parametrize(
    "make",
    [lambda p: SGD(p, 0.1, momentum=0.9), Adam, AdaMax, ShiftAdaMax, lambda p: Bop(p, 0.0, 1.0)],
    ids=["sgd", "adam", "adamax", "shift-adamax", "bop"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_that_the_device_forbids_leaves_everything(make, dtype, device):
    """The moments too: a later gradient of 0 changes nothing. An allowed step does."""
    start = np.array([1.0, -1.0, 1.0])
    p = parameter(start, device, dtype)
    optimizer = make([p])
    for allowed, gradient in ((False, start), (True, 0 * start), (False, start)):
        p.grad[...] = device.asarray(gradient.astype(dtype))
        with device.update(device.asarray(np.array(allowed))):
            optimizer.step()
        np.testing.assert_array_equal(device.to_host(p.data), start)
    with device.update(device.asarray(np.array(True))):
        optimizer.step()
    assert (device.to_host(p.data) != start).all()


@pytest.mark.parametrize("make", [AdaMax, ShiftAdaMax, Bop])
def test_nan_goes_into_no_parameter(make, backend):
    p = parameter([0.5, 0.5], backend, np.float32)
    p.quantizer = SignSTE()
    optimizer = make([p])
    before = backend.to_host(p.data).copy()
    p.grad[...] = backend.asarray([np.nan, 0.0])
    if backend.host:
        with pytest.raises(DivergedError, match=r"the gradient of Parameter.* became nan"):
            optimizer.step()
    else:
        optimizer.step()
    np.testing.assert_array_equal(backend.to_host(p.data), before)


def test_the_papers_defaults():
    """Defaults that people rely on; no other test fixes them."""
    adam = Adam(Dense(2, 2).initialize(0).parameters())
    assert (adam.learning_rate, adam.beta1, adam.beta2, adam.epsilon) == (1e-3, 0.9, 0.999, 1e-8)
    adamax = AdaMax(Dense(2, 2).initialize(0).parameters())
    assert (adamax.learning_rate, adamax.beta1, adamax.beta2) == (2e-3, 0.9, 0.999)
    shift = ShiftAdaMax(Dense(2, 2).initialize(0).parameters())
    assert (shift.learning_rate, shift.beta1, shift.beta2) == (2**-10, 1 - 2**-3, 1 - 2**-10)
    binary = Dense(2, 2, bias=False, weight_quantizer=SignSTE())
    bop = Bop(binary.initialize(0).parameters())
    assert (bop.threshold, bop.gamma) == (1e-8, 1e-4)
    norm = BatchNorm(3)
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)
    assert SignSTE().clip is None
