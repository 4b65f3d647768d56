"""Thermometer codes: thresholds and signs against loops over single numbers."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from minibnn import Thermometer
from minibnn.encoding import thermometer

NAN, INF = math.nan, math.inf


def quantiles(column, bits):
    """By interpolation between the sorted numbers, in exact arithmetic."""
    v = sorted(Fraction(float(a)) for a in column if a == a)
    found = []
    for k in range(1, bits + 1):
        at = Fraction(k, bits + 1) * (len(v) - 1)
        i = math.floor(at)
        above = v[min(i + 1, len(v) - 1)]
        found.append(float(v[i] + (at - i) * (above - v[i])))
    return found


@pytest.mark.parametrize("bits", [1, 2, 3, 7, 16])
def test_quantiles(bits, rng):
    x = rng.standard_normal((101, 3)) * [1, 1e4, 1e-5]
    x[rng.random(x.shape) < 0.2] = NAN
    code = Thermometer(3, bits).fit(x)
    expected = [quantiles(column, bits) for column in x.T]
    np.testing.assert_allclose(code.thresholds.data, expected, rtol=1e-6)
    assert code.thresholds.data.dtype == np.float32


def test_quantiles_split_the_samples_into_equal_parts(rng):
    x = rng.exponential(size=(1000, 1)) ** 4
    signs = Thermometer(1, 4).fit(x).forward(x.astype(np.float32))
    heights = np.bincount((signs > 0).sum(axis=1))
    np.testing.assert_array_equal(heights, [200] * 5)


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_uniform(bits, rng):
    x = rng.standard_normal((50, 2))
    x[3] = NAN
    code = Thermometer(2, bits, "uniform").fit(x)
    for f in range(2):
        low, high = min(c := [a for a in x[:, f] if a == a]), max(c)
        expected = [low + (high - low) * k / (bits + 1) for k in range(1, bits + 1)]
        np.testing.assert_allclose(code.thresholds.data[f], expected, rtol=1e-6)


DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spacing", thermometer.SPACINGS)
def test_signs(dtype, spacing, backend, rng):
    """Each sign is a comparison of two numbers, exact whatever their types are."""
    x = rng.integers(0, 2, (40, 2, 3)) if dtype == "bool" else rng.normal(60, 20, (40, 2, 3))
    if dtype.startswith("int"):
        x -= 60
    x = x.astype(dtype)
    code = Thermometer(3, 4, spacing).fit(x).to(backend)
    y = backend.to_host(code.forward(backend.asarray(x)))
    assert y.dtype == np.float32
    assert y.shape == (40, 2, 12)
    t = backend.to_host(code.thresholds.data)
    for i, j, f, k in itertools.product(range(40), range(2), range(3), range(4)):
        reached = Fraction(float(x[i, j, f])) >= Fraction(float(t[f, k]))
        assert y[i, j, 4 * f + k] == (1 if reached else -1)


def test_integers_that_float32_would_round(backend):
    """2^24 + 3 is below 2^24 + 4, though both have one float32."""
    code = Thermometer(1, 1)
    code.thresholds.data[...] = 2**24 + 4
    x = np.array([[2**24 + 3], [2**24 + 4], [2**24 + 5]])
    y = code.to(backend).forward(backend.asarray(x))
    assert backend.to_host(y).ravel().tolist() == [-1, 1, 1]


def test_special_numbers():
    code = Thermometer(1, 3)
    code.thresholds.data[...] = [-INF, 0, INF]
    x = np.array([[NAN], [-INF], [-0.0], [0], [-1e-45], [3e38], [INF]], np.float32)
    assert code.forward(x).tolist() == [
        [-1, -1, -1], [1, -1, -1], [1, 1, -1], [1, 1, -1], [1, -1, -1], [1, 1, -1], [1, 1, 1],
    ]  # fmt: skip


def test_a_constant_column_has_one_threshold():
    for spacing in thermometer.SPACINGS:
        code = Thermometer(2, 3, spacing).fit(np.array([[5.0, 0], [5, 1], [5, 2]]))
        assert code.thresholds.data[0].tolist() == [5, 5, 5]
        assert code.forward(np.array([[4.9, 0], [5, 0]], np.float32))[:, :3].tolist() == [
            [-1, -1, -1],
            [1, 1, 1],
        ]


@pytest.mark.parametrize("column", [
    [1, 2, INF, INF, 3, -INF], [INF, -INF], [INF, INF, INF], [-INF, 1, NAN, INF, 2], [1e300, 0, -1e300],
])  # fmt: skip
def test_infinite_samples(column):
    """Thresholds are samples then, and rise; other features are interpolated as before."""
    x = np.stack([np.array(column, float), np.arange(len(column))], axis=1)
    t = Thermometer(2, 5).fit(x).thresholds.data
    allowed = {math.copysign(INF, a) if abs(a) > 1e39 else a for a in column if a == a}
    assert set(t[0].tolist()) <= allowed
    assert (t[0, 1:] >= t[0, :-1]).all()
    np.testing.assert_allclose(t[1], quantiles(x[:, 1], 5), rtol=1e-6)
    seen = Thermometer(1, 3).fit(x[:, :1])
    signs = seen.forward(x[:, :1].clip(-3e38, 3e38).astype(np.float32))
    assert (np.diff(signs, axis=1) <= 0).all()


def test_equal_parts_need_ends():
    for column in ([1, INF], [-INF, 0], [-INF, INF]):
        with pytest.raises(ValueError, match=r"expected finite numbers for equal parts, got .* in feature 1"):  # fmt: skip
            Thermometer(2, 3, "uniform").fit(np.stack([np.zeros(2), np.array(column)], axis=1))
    wide = np.array([[3e38], [-3e38]], np.float32)  # wider than the greatest float32
    t = Thermometer(1, 3, "uniform").fit(wide).thresholds.data
    np.testing.assert_allclose(t, [[-1.5e38, 0, 1.5e38]], rtol=1e-6, atol=1e30)


def test_arguments():
    with pytest.raises(ValueError, match='expected spacing "quantile" or "uniform", got \'log\''):
        Thermometer(3, 2, "log")
    for features, bits in ((0, 2), (3, 0)):
        with pytest.raises(ValueError, match="Thermometer: expected"):
            Thermometer(features, bits)
    assert repr(Thermometer(3, 2)) == "Thermometer(3, 2)"
    assert repr(Thermometer(3, 2, "uniform")) == "Thermometer(3, 2, 'uniform')"


def test_the_gradient_is_zero(rng):
    code = Thermometer(3, 2).fit(rng.standard_normal((9, 3)))
    code.forward(rng.standard_normal((4, 5, 3)).astype(np.float32), train=True)
    dx = code.backward(np.ones((4, 5, 6), np.float32))
    assert dx.shape == (4, 5, 3)
    assert not dx.any()
    assert dx.dtype == np.float32
    code.forward(rng.integers(0, 9, (4, 3)), train=True)
    assert code.backward(np.ones((4, 6), np.float32), need_dx=False) is None
    with pytest.raises(RuntimeError):
        code.backward(np.ones((4, 6), np.float32))
