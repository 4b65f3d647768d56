"""Quantizers against numbers worked out by hand or in 40 digits, and the rules they all keep."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import strictdev
from devices import STRICT
from hypothesis import given
from hypothesis import strategies as st

import minibnn
from minibnn import (
    Activation,
    AdaSTE,
    ApproxSign,
    Dense,
    DoReFaActivations,
    DoReFaWeights,
    Function,
    Heaviside,
    MagnitudeAwareSign,
    Rescale,
    Sequential,
    SignSTE,
    StochasticSign,
    StraightThrough,
    SwishSign,
    Ternary,
    TernaryWeights,
    check_gradients,
)

# Both zeros, the thresholds of the ternary one, the clip edges, values beyond them.
X = [-3, -1.5, -1, -0.5, -0.05, -0.0, 0.0, 0.04, 0.05, 0.5, 1, 1.5, 3]
SIGN = [-1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1]
CLIPPED = [-1, -1, -1, -0.5, -0.05, 0, 0, 0.04, 0.05, 0.5, 1, 1, 1]
INSIDE = [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]
ONES = [1] * 13
THIRD = 1 / 3

# The textbook forms b (2 - u tanh(u / 2)) / (1 + cosh u) and 2 s (1 + u (1 - s)) - 1 with b = 5,
# u = 5 x, in decimal arithmetic with 40 digits, at 0.04, 0.05, 0.5, 1, 1.5, 3.
SWISH_SLOPE = [4.90099249336, 4.84616287469, -0.0846215652337, -0.194992254900, -0.0303402097018,
               -0.0000397672492626]  # fmt: skip
SWISH = [0.198674623710, 0.247420043140, 1.19880222268, 1.05309486486, 1.00718153882,
         1.00000856526]  # fmt: skip


def even(at_0_04, *rest):
    return [*reversed(rest), 5, 5, at_0_04, *rest]


def odd(at_0_04, *rest):
    return [*(-v for v in reversed(rest)), 0, 0, at_0_04, *rest]


# Quantizer, y, slope, surrogate: at X.
TABLE = [
    (SignSTE(clip=1.0), SIGN, INSIDE, CLIPPED),
    (
        ApproxSign(),
        SIGN,
        [0, 0, 0, 1, 1.9, 2, 2, 1.92, 1.9, 1, 0, 0, 0],
        [-1, -1, -1, -0.75, -0.0975, 0, 0, 0.0784, 0.0975, 0.75, 1, 1, 1],
    ),
    (SwishSign(), SIGN, even(*SWISH_SLOPE), odd(*SWISH)),
    (StochasticSign(), SIGN, ONES, X),
    (StochasticSign(clip=0.5), SIGN, [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
     [-0.5, -0.5, -0.5, -0.5, -0.05, 0, 0, 0.04, 0.05, 0.5, 0.5, 0.5, 0.5]),
    (Ternary(), [-1, -1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 1, 1], INSIDE, CLIPPED),
    (Ternary(0.5, clip=None), [-1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1], ONES, X),
    (
        Heaviside(),
        [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1],
        INSIDE,
        [-0.5, -0.5, -0.5, 0, 0.45, 0.5, 0.5, 0.54, 0.55, 1, 1.5, 1.5, 1.5],
    ),
    (
        DoReFaActivations(bits=2),  # 3 * 0.5 = 1.5 goes to 2
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 2 * THIRD, 1, 1, 1],
        [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0.04, 0.05, 0.5, 1, 1, 1],
    ),
    (
        DoReFaActivations(bits=1),  # 0.5 goes to 0
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
        [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0.04, 0.05, 0.5, 1, 1, 1],
    ),
    (
        DoReFaActivations(bits=4),  # 15 x = 0.6, 0.75, 7.5
        [0, 0, 0, 0, 0, 0, 0, 1 / 15, 1 / 15, 8 / 15, 1, 1, 1],
        [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0.04, 0.05, 0.5, 1, 1, 1],
    ),
]  # fmt: skip

# Functions of the whole array, each with an x of its own: x, quantizer, y, slope, surrogate.
L = [[-0.7, -0.2, -0.0], [0.0, 0.3, 0.5], [-3, 2, 0.0]]  # mean |x| = 6.7 / 9, clipped 3.7 / 9
L_INSIDE = [[1, 1, 1], [1, 1, 1], [0, 0, 1]]
A = [[1, -4, 0], [-2, 0.5, -0.0], [0.75, -1.5, 0]]  # mean |x| of the columns: 1.25, 2, 0
# tanh(log 3) = 0.8, tanh(log 2) = 0.6, tanh(log 3 / 2) = 0.5; over the largest: 1, 0.75, 0.625.
LOG3, LOG2 = math.log(3), math.log(2)
T = [[-LOG3, -LOG2, -LOG3 / 2], [0, LOG3 / 2, LOG2]]
T_SLOPE = [[0.45, 0.8, 0.9375], [1.25, 0.9375, 0.8]]  # (1 - tanh^2) / 0.8
T_CURVE = [[-1, -0.75, -0.625], [0, 0.625, 0.75]]
ARRAYS = [
    (  # Delta = 0.7 * 3.7 / 9 = 0.288
        L, TernaryWeights(), [[-1, 0, 0], [0, 1, 1], [-1, 1, 0]], L_INSIDE,
        [[-0.7, -0.2, 0], [0, 0.3, 0.5], [-1, 1, 0]],
    ),
    (  # Delta = 0.7 * 6.7 / 9 = 0.521
        L, TernaryWeights(clip=None), [[-1, 0, 0], [0, 0, 0], [-1, 1, 0]], [[1] * 3] * 3, L,
    ),
    (
        A, MagnitudeAwareSign(), [[1.25, -2, 0], [-1.25, 2, 0], [1.25, -2, 0]],
        [[1.25, 0, 0], [0, 2, 0], [1.25, 0, 0]],
        [[1.25, -2, 0], [-1.25, 1, 0], [0.9375, -2, 0]],
    ),
    (
        A, MagnitudeAwareSign(clip=None), [[1.25, -2, 0], [-1.25, 2, 0], [1.25, -2, 0]],
        [[1.25, 2, 0]] * 3, [[1.25, -8, 0], [-2.5, 1, 0], [0.9375, -3, 0]],
    ),
    (T, DoReFaWeights(bits=1), [[-1, -1, -1], [1, 1, 1]], T_SLOPE, T_CURVE),
    (  # 3 r = 0, 0.375, 0.5625, 1.5, 2.4375, 2.625
        T, DoReFaWeights(bits=2), [[-1, -1, -THIRD], [THIRD, THIRD, 1]], T_SLOPE, T_CURVE,
    ),
    (  # 7 r = 0, 0.875, 1.3125, 3.5, 5.6875, 6.125
        T, DoReFaWeights(bits=3), [[-1, -5 / 7, -5 / 7], [1 / 7, 5 / 7, 5 / 7]], T_SLOPE, T_CURVE,
    ),
]  # fmt: skip

ROWS = [(X, *row) for row in TABLE] + ARRAYS
QUANTIZERS = [*(row[1] for row in ROWS), AdaSTE()]
each_quantizer = pytest.mark.parametrize("f", QUANTIZERS, ids=repr)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: repr(row[1]))
def test_values_by_hand(row, dtype, backend):
    x, f, y, slope, surrogate = row
    tolerance = {"rtol": 1e-6, "atol": 1e-6 if dtype == np.float32 else 1e-10}
    x = np.array(x, dtype)
    dy = np.linspace(-2, 2.5, x.size, dtype=dtype).reshape(x.shape)
    there, dy_there = backend.asarray(x), backend.asarray(dy)
    for got, expected in (
        (f.forward(there), y),
        (f.backward(dy_there, there), dy * np.array(slope, dtype)),
        (f.surrogate(there), surrogate),
        (f.surrogate_at(there, dy_there)(there), surrogate),
    ):
        got = backend.to_host(got)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, **tolerance)


def test_every_public_quantizer_is_tested_here():
    public = {
        v
        for name in minibnn.__all__
        if isinstance(v := getattr(minibnn, name), type) and issubclass(v, Function)
    }
    # Quantizers are what has fewer bits than a real number.
    quantizers = {v for v in public if v not in (Function, StraightThrough) and v().bits < 32}
    assert len(quantizers) == 11
    assert quantizers == {type(f) for f in QUANTIZERS}


def test_bits():
    for kind, bits in {
        SignSTE: 1, ApproxSign: 1, SwishSign: 1, MagnitudeAwareSign: 1, StochasticSign: 1,
        AdaSTE: 1, Heaviside: 1, Ternary: 2, TernaryWeights: 2,
    }.items():  # fmt: skip
        assert kind().bits == bits
    assert (DoReFaActivations(bits=5).bits, DoReFaWeights(bits=7).bits) == (5, 7)


def test_defaults_are_the_fields_own():
    """What Larq's users expect; nothing else would hold them in place."""
    assert SwishSign() == SwishSign(beta=5.0)
    assert Ternary() == Ternary(0.05, 1.0)
    assert TernaryWeights() == TernaryWeights(1.0)
    assert MagnitudeAwareSign() == MagnitudeAwareSign(1.0)
    assert Heaviside() == Heaviside(1.0)
    assert StochasticSign().clip is None
    assert DoReFaActivations() == DoReFaActivations(2)
    assert DoReFaWeights() == DoReFaWeights(2)


LARQ_WEIGHTS = np.array([[-4.0, -2.0, -0.9, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0]])


def test_ternary_weights_beside_larqs():
    """What ``SteTern(ternary_weight_networks=True)`` of Larq 0.14.0 gave, with a clip of 1 and None.

    Its threshold is 0.7 * 1.69 = 1.183 with each; here it is 0.7 * 0.84 = 0.588 with the clip, of
    weights in [-1, 1] and none beyond. Both gradients end at the clip.
    """
    larq, clipped = [-1, -1, 0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 0, 0, 0]
    ones = np.ones_like(LARQ_WEIGHTS)
    np.testing.assert_array_equal(TernaryWeights(clip=None).forward(LARQ_WEIGHTS), [larq])
    np.testing.assert_array_equal(TernaryWeights(clip=None).backward(ones, LARQ_WEIGHTS), ones)
    np.testing.assert_array_equal(
        TernaryWeights().forward(LARQ_WEIGHTS), [[-1, -1, -1, 0, 0, 1, 1, 1, 1, 1]]
    )
    np.testing.assert_array_equal(TernaryWeights().backward(ones, LARQ_WEIGHTS), [clipped])
    within = LARQ_WEIGHTS / 4
    np.testing.assert_array_equal(
        TernaryWeights().forward(within), TernaryWeights(clip=None).forward(within)
    )


# --- What all of them keep --------------------------------------------------------------------


@each_quantizer
def test_backward_is_the_derivative_of_the_surrogate(f, rng):
    x = rng.uniform(-2, 2, (6, 5))
    x += 1e-3 * (abs(abs(x) - 1) < 1e-4)  # off the kinks at the clip
    dy = rng.standard_normal(x.shape)
    surrogate = f.surrogate_at(x, dy)
    h = 1e-6
    # Held at x, every surrogate is elementwise: all places can be moved at once.
    numeric = dy * (surrogate(x + h) - surrogate(x - h)) / (2 * h)
    np.testing.assert_allclose(f.backward(dy, x), numeric, rtol=1e-6, atol=1e-8)


@each_quantizer
def test_gradient_check_of_the_bare_function(f, rng):
    report = check_gradients(f, rng.standard_normal((5, 4)), rng=3)
    assert report, str(report)
    for layer in (Dense(4, 3, weight_quantizer=f), Sequential(Activation(f), Dense(4, 3))):
        report = check_gradients(layer, rng.standard_normal((5, 4)))
        assert report, str(report)


@each_quantizer
def test_nan_stays_nan(f, backend):
    x = backend.asarray(np.array([[0.5, np.nan], [-2.0, -np.nan], [-0.0, 0.25]]))
    if isinstance(f, StochasticSign):
        f.initialize(np.random.default_rng(0))
    for y in (f.forward(x), f.train_forward(x)):
        y = backend.to_host(y)
        assert np.isnan(y[:2, 1]).all()
        # What is scaled by a number from all of x, or from its channel, is lost with it.
        lost = isinstance(f, DoReFaWeights) and f.bits > 1
        assert np.isnan(y[0, 0]) == lost
        assert np.isnan(y[2, 1]) == (lost or isinstance(f, MagnitudeAwareSign))


@each_quantizer
def test_nothing_waits_for_the_device(f, rng):
    x = STRICT.asarray(rng.standard_normal((4, 3)).astype(np.float32))
    dy = STRICT.asarray(rng.standard_normal((4, 3)).astype(np.float32))
    f.initialize(rng)
    with strictdev.no_sync():
        f.forward(x), f.train_forward(x), f.backward(dy, x)


# A mean of the largest floats overflows, as it does anywhere.
@pytest.mark.parametrize(
    "f", [f for f in QUANTIZERS if not isinstance(f, MagnitudeAwareSign)
          and f != TernaryWeights(clip=None)], ids=repr)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_values_give_no_warning_and_no_nan(f, dtype):
    info = np.finfo(dtype)
    x = np.array([[info.max, info.min, info.tiny, -info.tiny, 1000, -1000]], dtype)
    f.initialize(np.random.default_rng(0))
    dy = np.array([[1, -1, 1, -1, -1, 1]], dtype)
    for value in (f.forward(x), f.train_forward(x), f.backward(dy, x), f.surrogate(x),
                  f.surrogate_at(x, dy)(x), f.forward(np.array([[np.inf, -np.inf]], dtype)),
                  f.backward(dy[:, :2], np.array([[np.inf, -np.inf]], dtype))):  # fmt: skip
        assert np.isfinite(value).all()


@each_quantizer
def test_all_zero_input(f):
    x = np.zeros((3, 2), np.float32)
    y, dx = f.forward(x), f.backward(np.ones_like(x), x)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    if f.bits == 2 and isinstance(f, Ternary | TernaryWeights):
        assert not y.any()


@each_quantizer
def test_settings_are_fixed_and_shown(f):
    assert repr(f).startswith(f"{type(f).__name__}(")
    names = [field.name for field in dataclasses.fields(f) if field.repr]
    assert all(f"{name}={getattr(f, name)!r}" in repr(f) for name in names)
    if not isinstance(f, StochasticSign):
        assert f == dataclasses.replace(f)
        assert hash(f) == hash(dataclasses.replace(f))
        with pytest.raises(dataclasses.FrozenInstanceError):
            f.clip = 2.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *(
            (lambda kind=kind, clip=clip: kind(clip=clip), f"{kind.__name__}: expected clip to be")
            for kind in (MagnitudeAwareSign, StochasticSign, Ternary, TernaryWeights, Heaviside)
            for clip in (0, -1.0, math.nan, math.inf)
        ),
        *(
            (lambda beta=beta: SwishSign(beta), "SwishSign: expected a positive beta")
            for beta in (0, -5.0, math.nan, math.inf)
        ),
        *(
            (lambda t=t: Ternary(t), "Ternary: expected threshold to be positive and at most clip")
            for t in (0, -0.1, math.nan, 1.5)
        ),
        *(
            (lambda kind=kind, bits=bits: kind(bits), f"{kind.__name__}: expected bits to be an")
            for kind in (DoReFaActivations, DoReFaWeights)
            for bits in (0, -1, 17, 2.0, True, "2")
        ),
    ],
)
def test_settings_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- One by one -------------------------------------------------------------------------------


def test_magnitude_aware_channels_are_the_last_axis(rng):
    x = rng.standard_normal((3, 2, 4, 5))
    y = MagnitudeAwareSign().forward(x)
    for channel in range(5):
        scale = sum(abs(v) for v in x[..., channel].ravel()) / 24
        np.testing.assert_allclose(abs(y[..., channel]), scale)
    np.testing.assert_array_equal(y >= 0, x >= 0)
    with pytest.raises(ValueError, match=r"expected x of shape \(\.\.\., channels\), got \(5,\)"):
        MagnitudeAwareSign().forward(np.ones(5))


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 16])
def test_dorefa_weights_have_2_to_the_bits_levels_and_none_at_0(bits):
    x = np.linspace(-3, 3, 200001)
    y = DoReFaWeights(bits).forward(x)
    levels = np.unique(np.round((y + 1) / 2 * (2**bits - 1), 6))
    np.testing.assert_array_equal(levels, np.arange(2**bits))
    assert y[100000] == pytest.approx(1 / (2**bits - 1)), "0 goes to the level above"
    assert DoReFaWeights(bits).forward(np.zeros(3))[0] == pytest.approx(1 / (2**bits - 1))


def slow_adaste(x: float, dy: float) -> float:
    """The rule, one number at a time."""
    if x <= -1 and dy >= 0:
        return 0.0
    if x >= 1 and dy <= 0:
        return 0.0
    if x <= -1 or x >= 1:
        return dy * 2 / (1 + abs(x))
    return dy


def test_adaste_in_every_case(backend):
    x, dy = (a.ravel() for a in np.meshgrid(X, [-2.0, -1e-300, -0.0, 0.0, 1e-300, 3.0]))
    got = backend.to_host(AdaSTE().backward(backend.asarray(dy), backend.asarray(x)))
    np.testing.assert_allclose(got, [slow_adaste(*pair) for pair in zip(x, dy, strict=True)])
    np.testing.assert_array_equal(AdaSTE().forward(np.array(X)), SIGN)
    # Beside the blocked ones nothing is 0 that has a dy.
    assert np.count_nonzero(got) == 13 * 4 - 6 * 2


finite = st.floats(-1e6, 1e6)


@given(finite, finite)
def test_adaste_is_the_slow_rule(x, dy):
    got = AdaSTE().backward(np.array([dy]), np.array([x]))
    np.testing.assert_allclose(got, slow_adaste(x, dy), rtol=1e-12)


@given(finite, finite)
def test_adaste_never_leads_away_from_the_middle(x, dy):
    dx = AdaSTE().backward(np.array([dy]), np.array([x]))[0]
    if abs(x) >= 1:
        assert abs(x - 1e-7 * dx) <= abs(x)


@given(st.lists(finite, min_size=2, max_size=30))
def test_every_quantizer_rises_and_keeps_to_its_values(values):
    x = np.sort(np.array(values))[:, None]
    for f in QUANTIZERS:
        y = f.forward(x)
        assert (np.diff(y, axis=0) >= 0).all(), f
        scale = f.scale(x)[0] if isinstance(f, MagnitudeAwareSign) else 1.0
        assert abs(y).max() <= scale
        assert len(np.unique(y)) <= 2**f.bits
        if f.bits == 1 and not isinstance(f, Heaviside | DoReFaActivations):
            np.testing.assert_array_equal(y, scale * SignSTE().forward(x))


@given(st.lists(st.floats(-0.5, 1.5), min_size=1), st.integers(1, 12))
def test_dorefa_takes_the_nearest_level(values, bits):
    x = np.array(values)
    y = DoReFaActivations(bits).forward(x)
    n = 2**bits - 1
    assert (abs(y - np.clip(x, 0, 1)) <= 0.5 / n + 1e-12).all()


def test_a_setting_that_is_a_numpy_float64_widens_nothing():
    x = np.ones((2, 3), np.float32)
    f = SwishSign(beta=np.float64(5))
    assert {a.dtype for a in (f.forward(x), f.backward(x, x), f.surrogate(x))} == {x.dtype}


# --- The one that draws -----------------------------------------------------------------------


def stochastic(seed=0, **settings):
    f = StochasticSign(**settings)
    f.initialize(np.random.default_rng(seed))
    return f


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_mean_of_the_draws_is_x(dtype, backend):
    x = np.array([-3, -1, -0.5, -0.0, 0.25, 0.9, 1, 3], dtype)
    draws = 40_000
    there = backend.asarray(np.tile(x, (draws, 1)))
    y = backend.to_host(stochastic().train_forward(there))
    assert y.dtype == dtype
    np.testing.assert_array_equal(abs(y), 1)
    mean = y.mean(axis=0, dtype=np.float64)
    # Four standard deviations of a mean of so many; at and beyond the edges nothing is random.
    slack = 4 * np.sqrt(np.maximum(1 - x.astype(float) ** 2, 0) / draws)
    assert (abs(mean - np.clip(x, -1, 1)) <= slack).all(), mean


@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
def test_certain_values_are_certain_also_for_the_outermost_draws(u, monkeypatch):
    f = stochastic()
    monkeypatch.setattr(f.stream, "uniform", lambda backend, shape, dtype: np.full(shape, u, dtype))
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(
            f.train_forward(np.array([-2, -1, 1, 2], dtype)), [-1, -1, 1, 1]
        )


def test_draws_are_independent_of_each_other():
    y = stochastic().train_forward(np.zeros((200, 200)))
    # Neighbours in a row, in a column, and the next draw: correlations within 4 / sqrt(40,000).
    assert abs((y[:, 1:] * y[:, :-1]).mean()) < 0.02
    assert abs((y[1:] * y[:-1]).mean()) < 0.02
    f = stochastic()
    first, second = f.train_forward(np.zeros((200, 200))), f.train_forward(np.zeros((200, 200)))
    assert abs((first * second).mean()) < 0.02


def test_a_seed_replays_and_every_draw_is_new(backend, rng):
    x = rng.uniform(-1, 1, (20, 10)).astype(np.float32)
    f, there = stochastic(), backend.asarray(x)
    first, second = (backend.to_host(f.train_forward(there)) for _ in range(2))
    assert (first != second).any()
    f.stream.count = 0
    np.testing.assert_array_equal(backend.to_host(f.train_forward(there)), first)
    np.testing.assert_array_equal(stochastic().train_forward(x), first)  # the CPU's draws
    assert (stochastic(seed=1).train_forward(x) != first).any()


def test_evaluation_and_backward_draw_nothing(rng):
    x = rng.uniform(-2, 2, (20, 10))
    f = stochastic(clip=1.0)
    np.testing.assert_array_equal(f.forward(x), SignSTE().forward(x))
    f.backward(np.ones_like(x), x)
    assert f.stream.count == 0
    assert (f.train_forward(x) != f.forward(x)).any()
    assert f.stream.count == 1


def test_a_layer_seeds_its_functions_draws():
    model = Sequential(
        Dense(4, 4, weight_quantizer=StochasticSign()), Activation(StochasticSign())
    ).initialize(0)
    seeds = [model[0].weight_quantizer.stream.seed, model[1].function.stream.seed]
    assert None not in seeds
    assert seeds[0] != seeds[1]


def test_drawing_before_initialize_says_what_to_call():
    f = StochasticSign()
    f.forward(np.zeros(3))
    with pytest.raises(RuntimeError, match=r"StochasticSign\(clip=None\): expected a seed.*rng"):
        f.train_forward(np.zeros(3))
    with pytest.raises(RuntimeError, match="expected a seed"):
        Activation(StochasticSign()).forward(np.zeros((2, 3), np.float32), train=True)


def test_gradient_check_seeds_a_copy_only(monkeypatch):
    layer = Activation(StochasticSign(clip=1.0))
    assert check_gradients(layer, np.random.default_rng(0).standard_normal((5, 4)))
    assert layer.function.stream.seed is None
    layer.initialize(0)
    seed = layer.function.stream.seed
    monkeypatch.delattr(minibnn.RandomStream, "initialize")  # what has been drawn is not drawn anew
    assert check_gradients(layer, np.random.default_rng(0).standard_normal((5, 4)))
    assert (layer.function.stream.seed, layer.function.stream.count) == (seed, 0)


def test_gradient_check_where_nothing_comes_back():
    """Below the first parameters, with pixels: no backward there, so no dy to anchor AdaSTE at."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4), dtype=np.uint8)
    model = Sequential(Rescale(4 / 255, -2.0), Activation(AdaSTE()), Dense(4, 3))
    assert check_gradients(model, pixels)
