"""SGD with momentum by hand."""

from __future__ import annotations

import numpy as np
from optimizer_cases import parameter, trajectory

from minibnn import (
    SGD,
)


def test_sgd_three_steps_by_hand():
    p = parameter([1.0])
    path = trajectory(SGD([p], 0.1, momentum=0.5), p, [1.0, 2.0, -4.0])
    # u: 1, 2.5, -2.75
    np.testing.assert_allclose(path, [[0.9], [0.65], [0.925]], rtol=1e-12)
