"""SwishSign: its setting and its slope."""

from __future__ import annotations

import numpy as np

from minibnn import (
    SwishSign,
)


def test_a_setting_that_is_a_numpy_float64_widens_nothing():
    x = np.ones((2, 3), np.float32)
    f = SwishSign(beta=np.float64(5))
    assert {a.dtype for a in (f.forward(x), f.backward(x, x), f.surrogate(x))} == {x.dtype}
