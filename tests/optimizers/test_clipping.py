"""Clipping by the global norm: by hand, over several optimisers, and where nothing is finite."""

from __future__ import annotations

import numpy as np
import pytest
import strictdev
from optimizer_cases import parameter

from minibnn import SGD, Adam, Bop, Dense, DivergedError, OptimizerGroup, SignSTE
from minibnn.backend import CPU
from minibnn.optimizers import Optimizer, clip_gradients


def test_all_gradients_are_shortened_by_one_factor(backend):
    p, q = parameter([1.0, 2.0], backend), parameter([[3.0]], backend, bound=1.0)
    optimizer = SGD([p, q], 0.1)
    p.grad[...] = backend.asarray(np.array([2.0, -4.0]))
    q.grad[...] = 4.0
    with strictdev.no_sync():
        norm = clip_gradients(optimizer, 1.5)
    assert float(backend.to_host(norm)) == 6
    np.testing.assert_allclose(backend.to_host(p.grad), [0.5, -1], rtol=1e-15)
    np.testing.assert_allclose(backend.to_host(q.grad), [[1]], rtol=1e-15)


def test_short_gradients_stay_bit_for_bit(backend, rng):
    p = parameter(np.zeros(7), backend, np.float32)
    g = rng.standard_normal(7).astype(np.float32)
    optimizer = SGD([p], 0.1)
    for norm in (10.0, float(np.sqrt((g.astype(float) ** 2).sum()))):
        p.grad[...] = backend.asarray(g)
        clip_gradients(optimizer, norm)
        np.testing.assert_array_equal(backend.to_host(p.grad), g)
    p.grad[...] = 0.0  # nothing to divide by
    clip_gradients(optimizer, 1.0)
    np.testing.assert_array_equal(backend.to_host(p.grad), np.zeros(7))


def test_a_group_has_one_norm():
    """Also with an optimiser of one's own, which has no flat store."""

    class Own(Optimizer):
        def __init__(self, p):
            self.p, self.backend = p, CPU

        parameters = property(lambda self: [self.p])

        def require_intact(self):
            pass

        require_gradients = require_finite_gradients = step = require_intact

    ps = [parameter([0.0], dtype=np.float32) for _ in range(3)]
    optimizer = OptimizerGroup(OptimizerGroup(Adam(ps[:1])), SGD(ps[1:2], 1.0), Own(ps[2]))
    for p, g in zip(ps, (1, 2, -2), strict=True):
        p.grad[...] = g
    assert float(clip_gradients(optimizer, 1.0)) == 3
    np.testing.assert_allclose([p.grad[0] for p in ps], [1 / 3, 2 / 3, -2 / 3], rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squares_that_overflow(dtype):
    """In float32 they are added in float64; beyond float64 the step is refused, not made with 0."""
    p = parameter([0.0, 0.0], dtype=dtype)
    optimizer = SGD([p], 1.0)
    large = 1e30 if dtype == np.float32 else 1e200
    p.grad[...] = large
    clip_gradients(optimizer, 1.0)
    if dtype == np.float32:
        np.testing.assert_allclose(p.grad, np.sqrt([0.5, 0.5]), rtol=1e-6)
    else:
        with pytest.raises(DivergedError, match="the gradient of"):
            optimizer.step()
        assert p.data.tolist() == [0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_is_refused_as_ever(bad, backend):
    p = parameter([1.0, 1.0], backend)
    optimizer = SGD([p], 1.0)
    p.grad[...] = backend.asarray(np.array([bad, 1.0]))
    allowed = backend.xp.ones((), bool)
    clip_gradients(optimizer, 1.0)
    if backend.host:
        with pytest.raises(DivergedError):
            optimizer.step()
    else:
        with backend.update(allowed):
            optimizer.step()
        assert not backend.to_host(allowed)
    assert backend.to_host(p.data).tolist() == [1, 1]


def test_another_models_gradients_are_still_noticed():
    trained, other = (Dense(3, 2).initialize(0) for _ in range(2))
    optimizer = SGD(other.parameters(), 1.0)
    x = np.ones((4, 3), np.float32)
    for _ in range(2):
        trained.backward(trained.forward(x, train=True), need_dx=False)
    with pytest.raises(RuntimeError, match="got one of another model"):
        clip_gradients(optimizer, 1.0)


def test_bop_averages_the_shortened_gradient():
    layer = Dense(2, 1, bias=False, weight_quantizer=SignSTE()).initialize(0)
    optimizer = Bop(layer.parameters(), gamma=1.0, threshold=0.9)
    layer.weight.data[...] = 1
    layer.weight.grad[...] = [[3], [4]]
    clip_gradients(optimizer, 1.0)
    optimizer.step()
    assert layer.weight.data.tolist() == [[1], [1]]  # 0.6 and 0.8 do not reach 0.9


@pytest.mark.parametrize("norm", [0, -1, np.inf, np.nan])
def test_refused(norm):
    with pytest.raises(ValueError, match="expected norm to be a positive number"):
        clip_gradients(SGD([parameter([0.0])], 1.0), norm)
