"""Adam by hand, and its implementations against the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases_of_operations import adam_scalars
from optimizer_cases import parameter, path, trajectory

from minibnn import (
    Adam,
    glorot_lr_scale,
)
from minibnn.backend.cpu.adam import BLOCK
from minibnn.optimizers.adam import adam


def test_adam_three_steps_by_hand():
    p = parameter([1.0])
    path = trajectory(Adam([p], 0.1, beta1=0.8, beta2=0.96, epsilon=1e-3), p, [0.5, -0.25, 1.0])
    # m: .1, .03, .224; v: .01, .0121, .051616; each divided by 1 - beta^t.
    w = 1.0
    expected = []
    for t, (m, v) in enumerate([(0.1, 0.01), (0.03, 0.0121), (0.224, 0.051616)], start=1):
        w -= 0.1 * (m / (1 - 0.8**t)) / (math.sqrt(v / (1 - 0.96**t)) + 1e-3)
        expected.append([w])
    np.testing.assert_allclose(path, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bound", [None, 0.5])
@pytest.mark.parametrize("size", [1, 1000, BLOCK, 2 * BLOCK + 3])
def test_fast_adam_equals_its_reference(dtype, bound, size, backend, rng):
    if backend.name == "strict":
        pytest.skip("the stand-in has only the reference")
    plain = [rng.standard_normal(size).astype(dtype) for _ in range(2)]
    plain += [np.zeros(size, dtype), np.zeros(size, dtype)]
    fast = [backend.asarray(a.copy()) for a in plain]
    for step in range(1, 6):
        plain[1] = rng.standard_normal(size).astype(dtype)
        fast[1] = backend.asarray(plain[1].copy())
        scalars = adam_scalars(0.01, step)
        adam(*plain, *scalars, 0.9, 0.999, bound)
        backend.run(adam, *fast, *scalars, 0.9, 0.999, bound)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12  # float32: the two round in different orders
    for a, b in zip(plain, fast, strict=True):
        np.testing.assert_allclose(backend.to_host(b), a, rtol=tolerance, atol=tolerance)


def test_binarynets_update_is_scaled_and_then_clipped(backend):
    """``W = clip(W + s dAdam, -1, 1)``: Adam's first step has the size of the learning rate."""
    s, rate = glorot_lr_scale(784, 4096), 1e-3
    p = parameter([0.9, 0.97, -0.97, 0.0], backend, np.float64, lr_scale=s, bound=1.0)
    ((got,),) = path(Adam([p], rate, epsilon=1e-12), [[-1.0, -1.0, 1.0, 1.0]], p)
    # 0.97 + 0.057 is outside, 0.97 + 0.001 would not be
    np.testing.assert_allclose(got, [0.9 + s * rate, 1, -1, -s * rate], rtol=1e-9)
