"""The scale of targets that are numbers."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import Dense
from minibnn.target_scale import TargetScale


@pytest.mark.parametrize("shape", [(200,), (200, 1), (200, 3)])
def test_inside_targets_have_mean_0_and_standard_deviation_1(shape, rng):
    y = 1e5 + 30 * rng.standard_normal(shape)
    scale = TargetScale(y)
    z = scale.inside(y)
    assert (z.shape, z.dtype) == (shape, np.float32)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(scale.outside(z), y, rtol=1e-9)


def test_a_constant_column_is_only_shifted():
    scale = TargetScale([[7.0, 1], [7, 3]])
    assert scale.inside([[7.0, 1], [8, 3]]).tolist() == [[0, -1], [1, 1]]
    assert scale.outside([[0.0, 0]]).tolist() == [[7, 2]]


def test_the_last_layer_takes_it(backend, rng):
    layer = Dense(4, 3).initialize(rng).to(backend)
    x = backend.asarray(rng.standard_normal((5, 4)).astype(np.float32))
    scale = TargetScale(rng.standard_normal((9, 3)) * [1, 100, 0] + [5, -7, 3])
    expected = scale.outside(backend.to_host(layer.forward(x)))
    scale.put_into(layer)
    assert layer.weight.data.dtype == np.float32
    np.testing.assert_allclose(backend.to_host(layer.forward(x)), expected, rtol=1e-5, atol=1e-5)
