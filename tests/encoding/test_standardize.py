"""Standardised features against the statistics of Python's standard library."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from minibnn import Standardize, check_gradients


def clean(column):
    return [float(a) for a in column if not math.isnan(a)]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float32"])
def test_mean_and_deviation(dtype, backend, rng):
    x = rng.integers(0, 2, (80, 3)) if dtype == "bool" else rng.normal(50, 17, (80, 3))
    x = x.astype(dtype)
    if dtype == "float32":
        x *= np.array([1, 1e6, 1e-6], np.float32)
        x[rng.random(x.shape) < 0.1] = np.nan
    layer = Standardize(3).fit(x).to(backend)
    y = backend.to_host(layer.forward(backend.asarray(x)))
    assert y.dtype == np.float32
    for f in range(3):
        values = clean(x[:, f])
        mean, std = statistics.fmean(values), statistics.pstdev(values)
        np.testing.assert_allclose(backend.to_host(layer.mean.data)[f], mean, rtol=1e-6)
        np.testing.assert_allclose(backend.to_host(layer.std.data)[f], std, rtol=1e-6)
        # y is of size 1 and rounded after x - mean, whose error is that of x.
        near = {"rtol": 1e-5, "atol": 1e-5}
        np.testing.assert_allclose(clean(y[:, f]), [(v - mean) / std for v in values], **near)
        assert np.isnan(y[:, f]).sum() == np.isnan(x[:, f].astype(float)).sum()


def test_a_constant_feature_loses_its_mean_alone():
    layer = Standardize(3).fit(np.array([[0.1, 3, 1], [0.1, 3, 3], [0.1, np.nan, 2]]))
    assert layer.std.data[:2].tolist() == [1, 1]
    y = layer.forward(np.array([[0.1, 3, 2], [1.1, 5, 2]], np.float32))
    np.testing.assert_allclose(y, [[0, 0, 0], [1, 2, 0]], atol=1e-6)


def test_small_and_large_numbers():
    """A deviation that float32 rounds to zero counts as none; squares do not overflow."""
    assert Standardize(1).fit(np.array([[1e-60], [2e-60]])).std.data.tolist() == [1]
    tiny = Standardize(1).fit(np.array([[1e-42], [3e-42]], np.float32))
    np.testing.assert_allclose(tiny.std.data, 1e-42, rtol=1e-2)  # a denormal has few digits
    large = Standardize(1).fit(np.array([[1e38], [3e38]], np.float32))
    np.testing.assert_allclose(large.std.data, 1e38, rtol=1e-6)


def test_infinite_samples_are_refused():
    for x in ([[1, np.inf]], [[0, -np.inf], [1, 0]], [[0, 1e300], [0, 0]]):
        with pytest.raises(ValueError, match="expected numbers of a finite variance, got others in feature 1"):  # fmt: skip
            Standardize(2).fit(np.array(x, float))
    with pytest.raises(ValueError, match="finite variance"):
        Standardize(1).initialize(0, np.float64).fit(np.array([[1e300], [-1e300]]))


def test_backward_divides_by_the_deviation(rng):
    layer = Standardize(2).fit(np.array([[0.0, 0], [2, 8]]))
    layer.forward(rng.integers(0, 9, (4, 2)), train=True)
    np.testing.assert_allclose(layer.backward(np.full((4, 2), 8, np.float32)), [[8, 2]] * 4)
    layer.forward(rng.integers(0, 9, (4, 2)), train=True)
    assert layer.backward(np.full((4, 2), 8, np.float32), need_dx=False) is None
    assert check_gradients(layer.initialize(0, np.float64), rng.standard_normal((4, 2)))


def test_arguments():
    with pytest.raises(ValueError, match="Standardize: expected features"):
        Standardize(0)
    assert repr(Standardize(3)) == "Standardize(3)"
