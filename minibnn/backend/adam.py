"""The numbers of one Adam update."""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class AdamStep(NamedTuple):
    """The numbers of one Adam update.

    Attributes:
        rate: step size, with the corrections of both moments in it; see `folded`.
        epsilon: added to the root of the second moment, with its correction in it.
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

            rate = learning_rate sqrt(1 - beta2^step) / (1 - beta1^step)
            epsilon <- epsilon sqrt(1 - beta2^step)

        This is algorithm 1 of Kingma and Ba 2014 with both bias corrections taken out of the
        elements, as the end of its section 2 advises.
        """
        correction = math.sqrt(1 - beta2**step)
        return learning_rate * correction / (1 - beta1**step), epsilon * correction
