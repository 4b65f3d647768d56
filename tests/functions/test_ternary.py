"""Ternary weights beside those of Larq."""

from __future__ import annotations

import numpy as np

from minibnn import (
    TernaryWeights,
)

LARQ_WEIGHTS = np.array([[-4.0, -2.0, -0.9, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0]])


def test_ternary_weights_beside_larqs():
    """What ``SteTern(ternary_weight_networks=True)`` of Larq 0.14.0 gave, with a clip of 1 and None.

    Its threshold is 0.7 * 1.69 = 1.183 with each; here it is 0.7 * 0.84 = 0.588 with the clip, since
    it clips the weights to [-1, 1] first. Both gradients end at the clip.
    """
    larq, clipped = [-1, -1, 0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 0, 0, 0]
    ones = np.ones_like(LARQ_WEIGHTS)
    np.testing.assert_array_equal(TernaryWeights(clip=None).forward(LARQ_WEIGHTS), [larq])
    np.testing.assert_array_equal(TernaryWeights(clip=None).backward(ones, LARQ_WEIGHTS), ones)
    np.testing.assert_array_equal(
        TernaryWeights().forward(LARQ_WEIGHTS), [[-1, -1, -1, 0, 0, 1, 1, 1, 1, 1]]
    )
    np.testing.assert_array_equal(TernaryWeights().backward(ones, LARQ_WEIGHTS), [clipped])
    within = LARQ_WEIGHTS / 4
    np.testing.assert_array_equal(
        TernaryWeights().forward(within), TernaryWeights(clip=None).forward(within)
    )
