"""Activations against closed forms of value and derivative."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    HardTanh,
    Identity,
    ReLU,
    Sigmoid,
    SignSTE,
    Tanh,
)

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


def test_sigmoid_does_not_overflow():
    x = np.array([-1e4, 1e4], np.float32)
    np.testing.assert_array_equal(Sigmoid().forward(x), [0, 1])
    np.testing.assert_array_equal(Sigmoid().backward(np.ones(2, np.float32), x), [0, 0])
