"""The settings that `Adam` and `AdaMax` share: two decays and epsilon."""

from __future__ import annotations

import math

from minibnn.checks import number


def check_betas(who: str, beta1: float, beta2: float, epsilon: float) -> tuple[float, float, float]:
    """Return the three as numbers; raise unless both decays are in [0, 1) and epsilon > 0."""
    beta1, beta2 = number(who, "beta1", beta1), number(who, "beta2", beta2)
    epsilon = number(who, "epsilon", epsilon)
    if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
        raise ValueError(f"{who}: expected beta1, beta2 in [0, 1), got {beta1}, {beta2}")
    if not 0 < epsilon < math.inf:
        raise ValueError(f"{who}: expected a positive epsilon, got {epsilon}")
    return beta1, beta2, epsilon
