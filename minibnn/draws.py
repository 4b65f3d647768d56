"""Random numbers inside a network: a stream that replays, the same on every device."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array, Backend


class Draws:
    """A stream of uniform numbers for a layer or function that draws: dropout, stochastic signs.

    The numbers are a function of the seed, of how many arrays were drawn before, and of the place
    in the array. So there is no hidden state on a device, the CPU and the GPU draw the same
    numbers, and setting `count` back replays a draw.

    An attribute of a `Layer` that is a `Draws` gets its seed from ``model.initialize(rng)``. The
    gradient check holds such draws still.

    Attributes:
        seed: 0 to 2^63 - 1; None before `initialize`.
        count: how many arrays were drawn so far.

    >>> from minibnn.backend import CPU
    >>> draws = Draws()
    >>> draws.initialize(np.random.default_rng(0))
    >>> first = draws.uniform(CPU, (2, 3), np.float32)
    >>> draws.count = 0
    >>> bool((draws.uniform(CPU, (2, 3), np.float32) == first).all())
    True
    """

    def __init__(self) -> None:
        self.seed: int | None = None
        self.count = 0

    def __repr__(self) -> str:
        return f"Draws(seed={self.seed}, count={self.count})"

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the seed and start from the beginning."""
        self.seed = int(rng.integers(2**63))
        self.count = 0

    def uniform(self, backend: Backend, shape: tuple[int, ...], dtype: Any) -> Array:
        """The next array of numbers in [0, 1), multiples of 2^-24.

        Raises:
            RuntimeError: before `initialize`.
        """
        if self.seed is None:
            raise RuntimeError(
                "Draws: expected a seed, but none has been drawn; call model.initialize(rng) first"
            )
        self.count += 1
        return backend.uniform(shape, self.seed, self.count - 1, dtype)
