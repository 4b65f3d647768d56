"""Decoupled weight decay by hand: who decays, and that a step happens whole or not at all."""

from __future__ import annotations

import re

import numpy as np
import pytest
from optimizer_cases import parameter, path, trajectory

from minibnn import Adam, AdamW, Cosine, DivergedError


def test_two_steps_by_hand():
    """With equal gradients Adam's part is the learning rate, whatever their size."""
    p = parameter([2.0])
    optimizer = AdamW([p], 0.1, epsilon=1e-30, weight_decay=0.5)
    got = trajectory(optimizer, p, [3.0, 3.0])
    one = 2 - 0.1 * (0.5 * 2 + 1)
    np.testing.assert_allclose(got, [[one], [one - 0.1 * (0.5 * one + 1)]], rtol=1e-12)


def test_the_gradient_is_not_decayed():
    """Unlike with L2 in the gradient, the moments are Adam's own."""
    p, q = parameter([2.0, -1.0]), parameter([2.0, -1.0])
    one, other = Adam([p], 0.1), AdamW([q], 0.1, weight_decay=0.3)
    for g in ([1.0, 0.5], [-0.2, 0.1]):
        p.grad[...] = q.grad[...] = g
        one.step()
        other.step()
    np.testing.assert_array_equal(one._m, other._m)
    np.testing.assert_array_equal(one._v, other._v)
    assert (p.data != q.data).all()


def test_bounded_weights_decay_only_if_asked(backend):
    for asked in (False, True):
        free, latent = parameter([0.5], backend), parameter([0.5], backend, bound=1.0)
        optimizer = AdamW([free, latent], 0.1, weight_decay=1.0, decay_bounded=asked)
        (_, [at_end]) = path(optimizer, [0.0], free, latent)
        assert backend.to_host(free.data)[0] == pytest.approx(0.45)
        assert at_end[0] == pytest.approx(0.45 if asked else 0.5)
    # and it stays within its bound
    latent = parameter([0.999], backend, bound=1.0)
    ((got,),) = path(AdamW([latent], 0.1, weight_decay=0.1, decay_bounded=True), [-1.0], latent)
    assert got[0] == 1


def test_without_decay_it_is_adam(backend, rng):
    values = rng.standard_normal(40)
    p, q = (parameter(values, backend, np.float32) for _ in range(2))
    gradients = rng.standard_normal((5, 40))
    one = path(Adam([p], 0.02), gradients, p)
    other = path(AdamW([q], 0.02, weight_decay=0.0), gradients, q)
    np.testing.assert_array_equal(one, other)


def test_the_schedule_and_the_scale_are_also_the_decays():
    p = parameter([1.0], lr_scale=2.0)
    optimizer = AdamW([p], Cosine(0.1, 0.0, length=2), weight_decay=0.5)
    got = trajectory(optimizer, p, [0.0, 0.0, 0.0])
    assert np.ravel(got) == pytest.approx([0.9, 0.9 * 0.95, 0.9 * 0.95])  # the last rate is 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_refused_step_does_not_decay(dtype, device):
    p = parameter([1.0, 1.0], device, dtype)
    optimizer = AdamW([p], 0.1, weight_decay=0.5)
    p.grad[...] = np.nan
    with device.update(device.xp.ones((), bool)):
        optimizer.step()
    assert device.to_host(p.data).tolist() == [1, 1]


def test_a_step_that_overflows_does_not_decay():
    p = parameter([1.0])  # float64, whose reference checks v
    optimizer = AdamW([p], 0.1, weight_decay=0.5)
    p.grad[...] = 1e200
    with np.errstate(over="ignore"), pytest.raises(DivergedError):
        optimizer.step()
    assert (p.data.tolist(), optimizer._v.tolist()) == ([1.0], [0.0])


@pytest.mark.parametrize("decay", [-0.1, np.inf, np.nan])
def test_refused(decay):
    with pytest.raises(ValueError, match="expected weight_decay of at least 0"):
        AdamW([parameter([0.0])], weight_decay=decay)


def test_a_decay_beyond_zero_is_refused():
    p = parameter([1.0])
    text = "expected learning_rate * weight_decay of at most 1, got 1.5; use a smaller weight_decay"
    with pytest.raises(ValueError, match=re.escape(text)):
        AdamW([p], 0.5, weight_decay=3.0).step()
    AdamW([p], 0.5, weight_decay=2.0).step()
    assert p.data.tolist() == [0]
