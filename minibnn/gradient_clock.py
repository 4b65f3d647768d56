"""When gradients were computed and used: so an optimiser notices that they are of another model."""

from __future__ import annotations

import itertools


class Backwards:
    """A clock, on the host, that goes on with each backward and each use of a gradient.

    ``Backwards.last = next(Backwards.clock)`` begins a backward.
    """

    clock = itertools.count(1)
    last = 0  # when a layer or a loss last ran backward
