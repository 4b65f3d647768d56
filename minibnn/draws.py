"""Random numbers inside a network: a stream that replays, the same on every device."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array, Backend, questions
from minibnn.checks import integer


class Draws:
    """A stream of uniform numbers for a layer or function that draws: dropout, stochastic signs.

    The numbers are a function of the seed, of how many arrays were drawn before, and of the place
    in the array. So there is no hidden state on a device, the CPU and the GPU draw the same
    numbers, and setting `count` back replays a draw.

    An attribute of a `Layer` that is a `Draws` gets its seed from ``model.initialize(rng)``. The
    gradient check holds such draws still; drawing in a backward is an error there.

    Attributes:
        seed: 0 to 2^63 - 1; None before `initialize`.

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
        self._count = 0

    def __repr__(self) -> str:
        return f"Draws(seed={self.seed}, count={self._count})"

    @property
    def count(self) -> int:
        """How many arrays were drawn so far; set it back to draw them again."""
        asked = questions()
        if asked is not None and asked.recording:
            raise RuntimeError(
                "Draws: its count was read while a step is recorded, which would keep it for ever; "
                "draw with uniform, which counts on in each replay"
            )
        return self._count

    @count.setter
    def count(self, count: int) -> None:
        self._count = integer("Draws", "count", count, least=0)

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
        self._count += 1
        return backend.uniform(shape, self.seed, self._count - 1, dtype)
