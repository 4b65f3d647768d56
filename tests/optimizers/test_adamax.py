"""AdaMax and ShiftAdaMax: epsilon, rounding to powers of two."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizer_cases import parameter, path

from minibnn import (
    AdaMax,
    Cosine,
    ShiftAdaMax,
)
from minibnn.optimizers.adamax import nearest_exponent


@pytest.mark.parametrize("make", [AdaMax, ShiftAdaMax])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_gradient_no_step(make, dtype, backend):
    """A pixel that is always black: 0 / 0 without an epsilon."""
    p = parameter([0.5], backend, dtype)
    assert path(make([p], 0.1), [0.0, 0.0], p) == [[[0.5], [0.5]]]


def test_adamax_adds_its_epsilon_to_the_gradient_not_to_the_largest(backend):
    """u: 1 + 1/2, max(3/4, 1/4 + 1/2) = 3/4, max(3/8, 1/8 + 1/2) = 5/8; w falls by g / u each time."""
    p = parameter([1.0], backend, np.float64)
    optimizer = AdaMax([p], 1.0, beta1=0.0, beta2=1 / 2, epsilon=1 / 2)
    (values,) = path(optimizer, [1.0, 1 / 4, 1 / 8], p)
    falls = [Fraction(2, 3), Fraction(1, 3), Fraction(1, 5)]
    expected = [float(1 - sum(falls[: k + 1])) for k in range(3)]
    np.testing.assert_allclose(np.concatenate(values), expected, rtol=1e-12, atol=1e-12)


def test_shift_adamax_rounds_rate_and_scale_together(backend):
    p = parameter([0.0], backend, np.float64, lr_scale=5.0)
    # 5/8 * 5 = 3.125, rounded 4; each rounded alone they would give 1/2 * 4
    optimizer = ShiftAdaMax([p], 5 / 8, beta1=0.0, beta2=0.0)
    assert path(optimizer, [1.0], p) == [[[-4]]]


def test_shift_adamax_at_the_end_of_a_schedule(backend):
    p = parameter([0.5], backend, np.float32)
    first, *rest = path(ShiftAdaMax([p], Cosine(0.5, 0.0, 1)), [1.0, 1.0, 1.0], p)[0]
    assert first < 0.5
    assert rest == [first, first]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(st.data())
def test_nearest_exponent(dtype, data):
    """2^k is the nearest power to a if a^2 lies between 2^(2k - 1) and 2^(2k + 1)."""
    a = data.draw(st.floats(2.0**-60, 2.0**60, width=8 * np.dtype(dtype).itemsize))
    k = int(nearest_exponent(np.array([a], dtype))[0])
    assert Fraction(2) ** (2 * k - 1) <= Fraction(a) ** 2 <= Fraction(2) ** (2 * k + 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_exponent_at_the_edges(dtype, backend):
    half = np.array(0.5, dtype) ** dtype(
        0.5
    )  # closest to the root, which lies between its neighbours
    a = np.array([np.nextafter(half, dtype(0)), np.nextafter(half, dtype(1)), 1, 2, 5, 6, 1e-8])
    a = a.astype(dtype)
    got = backend.to_host(nearest_exponent(backend.asarray(a))).tolist()
    # log2: -0.5 and a little less, a little more; 0; 1; 2.32; 2.58; -26.6
    assert got == [-1, 0, 0, 1, 2, 3, -27]
