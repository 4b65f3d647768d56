"""Batch norm in C, in NumPy and in the reference, each against float64."""

from __future__ import annotations

import numpy as np
import pytest
from devices import built
from special_values import awkward, same_bits

from minibnn.backend import CPU, NumpyBackend
from minibnn.layers.norm import batch_norm, batch_norm_gradient, normalize, update_running

NUMPY = NumpyBackend()


# (batch, ..., channels): wider and longer than the blocks in which C adds up, and beside their ends.
BATCHES = [(2, 3), (100, 256), (65, 1025), (9, 26, 26, 32), (50, 64, 1), (20, 50177, 1), (3, 1, 2)]


# Each takes float32 in a body of its own: C, NumPy, and the reference as it is written.
WAYS = [CPU.run, NUMPY.run, lambda reference, *args: reference(*args)]


every_way = pytest.mark.parametrize("run", WAYS, ids=["C", "NumPy", "reference"])


def norm_case(rng, shape):
    """x, dy, gamma and beta, with another mean of x for each position and channel."""
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    gamma, beta = (rng.standard_normal(shape[-1]).astype(np.float32) for _ in range(2))
    return x + 3 * rng.standard_normal(shape[1:]).astype(np.float32), dy, gamma, beta


def by_channel(a, channels):
    """A value of each channel in a row; what there is one of for each is one row."""
    return a.reshape(-1, channels)


@built
@every_way
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("shape", BATCHES)
def test_batch_norm_is_as_good_as_float64s(shape, scale, run, rng):
    """The orders of their sums differ; compared with float64, none is off by more than 3 roundings."""
    x, _, gamma, beta = norm_case(rng, shape)
    gamma, channels = (gamma if scale else 1), shape[-1]
    got = run(batch_norm, x, gamma, beta, 1e-5)
    wide = [a if isinstance(a, int) else a.astype(np.float64) for a in (x, gamma, beta)]
    exact = batch_norm(*wide, 1e-5)
    # A mean is off by roundings of its channel's greatest number, which the spread then divides.
    values = by_channel(x, channels)
    spread = np.sqrt(values.var(axis=0, dtype=np.float64) + 1e-5)
    three = 3 * np.finfo(np.float32).eps * abs(values).max(axis=0) / spread
    for g, e in list(zip(got, exact, strict=True))[1:]:  # y follows from them: see below
        assert (g.dtype, g.shape) == (np.float32, e.shape)
        error = abs(by_channel(g - e, channels))
        assert (error <= three + 2e-6 * abs(by_channel(e, channels))).all()


@built
@every_way
@pytest.mark.parametrize("shape", BATCHES)
def test_the_sums_of_batch_norms_gradient_are_accurate(shape, run, rng):
    x_hat, dy, gamma, inv_std = norm_case(rng, shape)
    sums = np.full((2, shape[-1]), np.nan, np.float32)
    run(batch_norm_gradient, dy, x_hat, inv_std, gamma, *sums, True)
    again = np.full((2, shape[-1]), np.nan, np.float32)
    assert run(batch_norm_gradient, dy, x_hat, inv_std, gamma, *again, False) is None
    np.testing.assert_array_equal(sums, again)
    alone = np.full(shape[-1], np.nan, np.float32)
    assert run(batch_norm_gradient, dy, x_hat, inv_std, 1, None, alone, False) is None
    np.testing.assert_array_equal(alone, sums[1])
    for got, terms in zip(
        sums, (dy.astype(np.float64) * x_hat, dy.astype(np.float64)), strict=True
    ):
        terms = by_channel(terms, shape[-1])
        assert (abs(got - terms.sum(axis=0)) <= 3e-7 * abs(terms).sum(axis=0)).all()


@built
@every_way
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("shape", BATCHES)
def test_but_for_its_sums_batch_norm_is_the_same_to_the_last_bit(shape, scale, run, rng):
    """Given an implementation's sums, everything else follows exactly."""
    x, dy, gamma, beta = norm_case(rng, shape)
    gamma, n = (gamma if scale else 1), x.size // shape[-1]
    x[..., 0], dy[..., 0] = awkward(rng, shape[:-1]), awkward(rng, shape[:-1])
    with np.errstate(all="ignore"):
        y, x_hat, mean, var, inv_std = run(batch_norm, x, gamma, beta, 1e-5)
        same_bits(inv_std, np.sqrt(var + np.float32(1e-5)) / (var + np.float32(1e-5)))
        same_bits(x_hat, (x - mean) * inv_std)
        same_bits(y, gamma * x_hat + beta)

        dgamma, dbeta = np.empty((2, shape[-1]), np.float32)
        dx = run(batch_norm_gradient, dy, x_hat, inv_std, gamma, dgamma, dbeta, True)
        s = gamma * inv_std
        same_bits(dx, s * dy - (s * dgamma / n) * x_hat - s * dbeta / n)
        same_bits(dx, run(batch_norm_gradient, dy, x_hat, inv_std, gamma, None, dbeta, True))

        same_bits(run(normalize, x, mean, inv_std, beta), (x - mean) * inv_std + beta)


@built
@every_way
def test_a_variance_that_overflows_shows_as_nan(run):
    x, beta = np.array([[1e30, 1.0], [-1e30, 2.0]], np.float32), np.zeros(2, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        y, x_hat, _, var, inv_std = run(batch_norm, x, 1, beta, 1e-5)
    assert np.isinf(var[0])
    assert np.isnan(inv_std[0])
    for a in (y, x_hat):
        assert np.isnan(a[:, 0]).all()
        assert np.isfinite(a[:, 1]).all()


@built
@pytest.mark.parametrize("bad", [None, "mean", "var", "factor"])
def test_running_statistics_in_c_equal_the_reference(bad, rng):
    """To the last bit; a mean or variance that is not finite, in any channel, changes nothing."""
    for channels, place in ((1, 0), (70, 0), (70, 69)):
        mean, *others = (rng.random(channels, np.float32) for _ in range(4))
        var, running_mean, running_var = others
        if bad in ("mean", "var"):
            (mean if bad == "mean" else var)[place] = np.nan if place else -np.inf
        elif bad == "factor":
            var[place] = 3e38  # overflows when it is multiplied
        got, expected = ((running_mean.copy(), running_var.copy()) for _ in range(2))
        with np.errstate(over="ignore"):
            CPU.run(update_running, *got, mean, var, 0.9, 100 / 64)
            update_running(*expected, mean, var, 0.9, 100 / 64)
        np.testing.assert_array_equal(got, expected)
        assert np.array_equal(got, (running_mean, running_var)) == (bad is not None)
