"""Which part of a batch a thread computes, in training on several ranks."""

from __future__ import annotations

import threading
from typing import Any


class Running(threading.local):
    """The part that this thread computes, with `over_whole_batch`; None for a whole batch.

    While there is one, implementations whose statistics are of the arrays they get decline, or add
    up with the others.
    """

    part: Any = None


running = Running()
