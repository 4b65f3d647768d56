"""ApproxSign: its gradient is largest at 0 and fades to 0 at -1 and 1."""

from __future__ import annotations

import numpy as np

from minibnn import ApproxSign


def test_approx_sign_by_hand(backend):
    x = backend.asarray(np.array([-2.0, -1.0, -0.75, -0.0, 0.0, 0.25, 1.0]))
    y, dx = ApproxSign().forward(x), ApproxSign().backward(backend.xp.ones_like(x), x)
    np.testing.assert_array_equal(backend.to_host(y), [-1, -1, -1, 1, 1, 1, 1])
    np.testing.assert_array_equal(backend.to_host(dx), [0, 0, 0.5, 2, 2, 1.5, 0])
