"""Functions against their closed forms, at the points where implementations differ."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Adam,
    AdaMax,
    BatchNorm,
    Bop,
    Dense,
    HardTanh,
    Identity,
    ReLU,
    ShiftAdaMax,
    Sigmoid,
    SignSTE,
    Tanh,
)
from minibnn.backend import CPU, Backend

# Zeros of both signs, the clip edges, just inside and outside them, far away.
X = np.array([-3.0, -1.0 - 1e-7, -1.0, -0.5, -1e-30, -0.0, 0.0, 1e-30, 0.5, 1.0, 1.0 + 1e-7, 3.0])
ONES = np.ones_like(X)
SIGN = np.array([-1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1.0])
INSIDE = np.array([0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0.0])

CLOSED_FORMS = [
    (Identity(), X, ONES),
    (ReLU(), np.maximum(X, 0), np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1.0])),
    (Tanh(), np.tanh(X), 1 / np.cosh(X) ** 2),
    (HardTanh(), np.clip(X, -1, 1), INSIDE),
    (Sigmoid(), 1 / (1 + np.exp(-X)), np.exp(-X) / (1 + np.exp(-X)) ** 2),
    (SignSTE(), SIGN, ONES),
    (SignSTE(clip=1.0), SIGN, INSIDE),
    (SignSTE(clip=0.5), SIGN, np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0.0])),
]


@pytest.mark.parametrize(("f", "y", "slope"), CLOSED_FORMS, ids=lambda v: repr(v)[:20])
def test_closed_form(f, y, slope, backend):
    x = backend.asarray(X)
    np.testing.assert_allclose(backend.to_host(f.forward(x)), y, rtol=1e-6, atol=1e-12)
    dy = np.linspace(-2, 2, X.size)
    got = backend.to_host(f.backward(backend.asarray(dy), x))
    np.testing.assert_allclose(got, dy * slope, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sign_of_every_zero_is_plus_one(dtype, backend):
    x = np.array([0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf], dtype)  # 1e-45: float32 subnormal
    y = backend.to_host(backend.binarize(backend.asarray(x)))
    np.testing.assert_array_equal(y, [1, 1, 1, -1, 1, -1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sign_does_not_hide_a_nan(dtype, backend):
    x = np.array([[1.0, np.nan], [-np.nan, -2.0]], dtype)
    y = backend.to_host(backend.binarize(backend.asarray(x)))
    np.testing.assert_array_equal(y, [[1, np.nan], [np.nan, -1]])
    empty = backend.binarize(backend.asarray(x[:0]))
    assert empty.shape == (0, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fast_sign_equals_its_plain_twin(dtype, backend, rng):
    x = rng.standard_normal((33, 17)).astype(dtype)
    x[rng.random(x.shape) < 0.2] = -0.0
    there = backend.asarray(x)
    expected = Backend.binarize(CPU, x)
    np.testing.assert_array_equal(backend.to_host(backend.binarize(there)), expected)
    np.testing.assert_array_equal(backend.to_host(backend.binarize(there[::2])), expected[::2])
    for value, sign in ((-3.0, -1), (0.0, 1)):
        scalar = backend.binarize(backend.asarray(np.array(value, dtype)))
        assert backend.to_host(scalar) == sign
    np.testing.assert_array_equal(backend.to_host(there), x)


@pytest.mark.parametrize("clip", [0, -1.0, float("nan"), float("inf")])
def test_sign_refuses_a_clip_that_is_no_width(clip):
    with pytest.raises(ValueError, match="SignSTE: expected clip to be a positive number or None"):
        SignSTE(clip=clip)


def test_sigmoid_does_not_overflow():
    x = np.array([-1e4, 1e4], np.float32)
    np.testing.assert_array_equal(Sigmoid().forward(x), [0, 1])
    np.testing.assert_array_equal(Sigmoid().backward(np.ones(2, np.float32), x), [0, 0])


def test_the_papers_defaults():
    """Values that people rely on and nothing else would hold in place."""
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
