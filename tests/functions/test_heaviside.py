"""Heaviside: both zeros give 0, and the gradient ends at the clip."""

from __future__ import annotations

import numpy as np

from minibnn import Heaviside


def test_heaviside_by_hand(backend):
    x = backend.asarray(np.array([-2.0, -1.0, -0.0, 0.0, 1e-30, 1.0, 2.0]))
    y, dx = Heaviside().forward(x), Heaviside(clip=1.0).backward(backend.xp.ones_like(x), x)
    np.testing.assert_array_equal(backend.to_host(y), [0, 0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(backend.to_host(dx), [0, 1, 1, 1, 1, 1, 0])
