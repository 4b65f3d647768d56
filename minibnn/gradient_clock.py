"""Count backwards and uses of gradients, so that an optimiser notices another model's backward."""

from __future__ import annotations

import itertools


class Backwards:
    """A clock on the host that advances with each backward and each use of a gradient.

    A backward begins with ``Backwards.last = next(Backwards.clock)``.
    """

    clock = itertools.count(1)
    last = 0  # when a layer or a loss last ran backward
