"""MagnitudeAwareSign: its channels."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    MagnitudeAwareSign,
)

# --- One by one -------------------------------------------------------------------------------


def test_magnitude_aware_channels_are_the_last_axis(rng):
    x = rng.standard_normal((3, 2, 4, 5))
    y = MagnitudeAwareSign().forward(x)
    for channel in range(5):
        scale = sum(abs(v) for v in x[..., channel].ravel()) / 24
        np.testing.assert_allclose(abs(y[..., channel]), scale)
    np.testing.assert_array_equal(y >= 0, x >= 0)
    with pytest.raises(ValueError, match=r"expected x of shape \(\.\.\., channels\), got \(5,\)"):
        MagnitudeAwareSign().forward(np.ones(5))
