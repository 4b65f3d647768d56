"""The numbers of one Adam update."""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class AdamStep(NamedTuple):
    """The numbers of one Adam update.

    Attributes:
        rate: step size, which takes in the constant factors of both moments; see `of`.
        epsilon: added to the root of the second moment, with the same factors in it.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        bound: latent weights stay in [-bound, bound]; None for no bound.

    In a recorded step `rate` and `epsilon` are 0-d arrays; see `Backend.numbers`.
    """

    rate: Any
    epsilon: Any
    beta1: float
    beta2: float
    bound: float | None

    @classmethod
    def of(
        cls,
        learning_rate: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        step: int,
        bound: float | None = None,
    ) -> AdamStep:
        """The numbers of update number `step`, counted from 1, in the paper's letters."""
        return cls(*cls.folded(learning_rate, beta1, beta2, epsilon, step), beta1, beta2, bound)

    @staticmethod
    def folded(
        learning_rate: float, beta1: float, beta2: float, epsilon: float, step: int
    ) -> tuple[float, float]:
        """The rate and epsilon with which the update is ``w - rate m / (sqrt(v) + epsilon)``.

        .. code-block:: text

            m_factor = (1 - beta1) / (1 - beta1^step)
            v_factor = sqrt((1 - beta2) / (1 - beta2^step))
            rate = learning_rate m_factor / v_factor        epsilon <- epsilon / v_factor
        """
        m_factor = (1 - beta1) / (1 - beta1**step)
        v_factor = math.sqrt((1 - beta2) / (1 - beta2**step))
        return learning_rate * m_factor / v_factor, epsilon / v_factor
