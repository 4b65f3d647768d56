"""Sums and means over the batch: accurate in float32, and the same in any layout."""

from __future__ import annotations

import numpy as np
import pytest
from sum_checks import check_accurate_sums

from minibnn.backend import NumpyBackend, batch_mean, batch_sum
from minibnn.backend.operations import two_stage_sum

NUMPY = NumpyBackend()


@pytest.mark.parametrize(
    "shape", [(100, 26, 26, 32), (100, 13, 13, 64), (100, 128), (1200, 26, 26, 1), (3, 1, 1, 5)]
)
def test_batch_sums_are_accurate_in_float32(shape, backend):
    check_accurate_sums(shape, backend)


@pytest.mark.parametrize("shape", [(40_000, 3), (70_001, 1, 2), (2, 300, 301, 2), (1500, 1100, 1)])
def test_sums_over_many_samples_or_positions_are_accurate_for_large_means(shape, backend):
    """One accumulator would stop to see what it adds: 40,000 numbers of 30,000 are off by 2e-4."""
    x = (np.random.default_rng(0).standard_normal(shape) + 30_000).astype(np.float32)
    exact = x.reshape(-1, shape[-1]).sum(axis=0, dtype=np.float64)
    sums = backend.to_host(batch_sum(backend.asarray(x)))
    assert (abs(sums - exact) / exact).max() < 1e-5
    np.testing.assert_array_equal(NUMPY.run(two_stage_sum, x, None), two_stage_sum(x, None))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_sums_and_means_are_exact_on_small_integers(dtype, backend):
    x = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    on_device = backend.asarray(x)
    out = backend.asarray(np.zeros(4, dtype))
    batch_sum(on_device, out=out)
    for got in (batch_sum(on_device), out, batch_mean(on_device) * 6):
        np.testing.assert_array_equal(backend.to_host(got), x.sum(axis=(0, 1)))
    matrix = on_device.reshape(6, 4)
    np.testing.assert_array_equal(backend.to_host(batch_sum(matrix)), x.sum(axis=(0, 1)))
    np.testing.assert_array_equal(backend.to_host(batch_mean(matrix)), x.mean(axis=(0, 1)))


@pytest.mark.parametrize("shape", [(0, 3), (0, 2, 3), (2, 0, 3)])
def test_the_batch_sum_of_nothing_is_zero(shape, backend):
    x = backend.asarray(np.zeros(shape, np.float32))
    out = backend.asarray(np.ones(3, np.float32))
    batch_sum(x, out=out)
    for got in (batch_sum(x), out):
        np.testing.assert_array_equal(backend.to_host(got), [0, 0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(100, 7), (100, 3, 2, 7), (9, 700, 1)])
def test_a_batch_sum_does_not_depend_on_the_layout(shape, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    exact = x.reshape(-1, shape[-1]).sum(axis=0, dtype=np.longdouble)
    size = abs(x).reshape(-1, shape[-1]).sum(axis=0, dtype=np.longdouble)
    frozen = x.copy()
    frozen.flags.writeable = False
    for a in (x, frozen, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
        out = np.full(shape[-1], np.nan, dtype)
        for got in (batch_sum(a), batch_sum(a, out=out), out):
            assert got.dtype == dtype
            # The BLAS adds up in another order where the matrix is transposed.
            assert (abs(got - exact) / size).max() < {"float32": 1e-6, "float64": 1e-14}[
                x.dtype.name
            ]
    np.testing.assert_array_equal(NUMPY.run(two_stage_sum, x, None), two_stage_sum(x, None))
    x[0, ..., 0], x[1, ..., -1] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(NUMPY.run(two_stage_sum, x, None), two_stage_sum(x, None))
