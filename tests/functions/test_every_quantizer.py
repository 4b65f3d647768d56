"""Every quantizer: values and gradients by hand, and the rules that all of them keep."""

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


@each_quantizer
def test_whether_backward_is_linear_in_dy(f, rng):
    """Several ranks add up dy first if it is not."""
    x = np.concatenate([X, 2 * rng.standard_normal(200)])[:, None]
    one, other = rng.standard_normal((2, *x.shape))
    together, apart = f.backward(one + other, x), f.backward(one, x) + f.backward(other, x)
    assert f.linear == bool(np.allclose(together, apart, rtol=1e-12, atol=1e-12))
    assert f.linear == (not isinstance(f, AdaSTE))


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
    # Functions with fewer bits than a real number are quantizers.
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
    """What Larq's users expect; no other test fixes these defaults."""
    assert SwishSign() == SwishSign(beta=5.0)
    assert Ternary() == Ternary(0.05, 1.0)
    assert TernaryWeights() == TernaryWeights(1.0)
    assert MagnitudeAwareSign() == MagnitudeAwareSign(1.0)
    assert Heaviside() == Heaviside(1.0)
    assert StochasticSign().clip is None
    assert DoReFaActivations() == DoReFaActivations(2)
    assert DoReFaWeights() == DoReFaWeights(2)


# --- Rules for all of them --------------------------------------------------------------------


@each_quantizer
def test_backward_is_the_derivative_of_the_surrogate(f, rng):
    x = rng.uniform(-2, 2, (6, 5))
    x += 1e-3 * (abs(abs(x) - 1) < 1e-4)  # off the kinks at the clip
    dy = rng.standard_normal(x.shape)
    surrogate = f.surrogate_at(x, dy)
    h = 1e-6
    # Anchored at x, every surrogate is elementwise, so all positions can change at once.
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
        # A scale that is computed from all of x, or from a channel, becomes nan with it.
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


# The mean of the largest floats overflows.
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


finite = st.floats(-1e6, 1e6)


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
