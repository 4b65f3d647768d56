"""Memory for large results that is used again.

The C library's malloc returns blocks of more than 32 MiB to the system when they are freed, and the
system clears each page of a new one: for the binary weights of a layer of 4096x4096, that takes as
long as computing them. So a few such blocks stay here.
"""

from __future__ import annotations

import math
import sys
from threading import Lock

import numpy as np

from minibnn.backend.array import Array

LARGE = 2**25  # bytes; malloc itself keeps smaller blocks, see backend.py
LARGEST = 2**28  # bytes; of larger blocks too much memory would stay here
MOST = 4  # blocks, such as the binary weights of two layers and of the next step

_blocks: list[Array] = []
_lock = Lock()


def empty(shape: tuple[int, ...]) -> Array:
    """A new float32 array; if it is large, perhaps in memory that no array uses any more.

    Views of a block hold a reference to it. While only the list does, nobody can see its values.
    """
    size = math.prod(shape)
    if not LARGE <= 4 * size <= LARGEST or not _lock.acquire(blocking=False):
        return np.empty(shape, np.float32)
    try:
        for i in range(len(_blocks)):
            if _blocks[i].size == size and sys.getrefcount(_blocks[i]) == ALONE:
                return _blocks[i].reshape(shape)
        del _blocks[: max(0, len(_blocks) + 1 - MOST)]  # the oldest; arrays may still use them
        _blocks.append(np.empty(size, np.float32))
        return _blocks[-1].reshape(shape)
    finally:
        _lock.release()


def _alone() -> int:
    """The reference count of a block that only the list has."""
    blocks = [np.empty(1, np.float32)]
    return sys.getrefcount(blocks[0])


ALONE = _alone()
