"""Rows of logits against labels: the launches of kernels that take both."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import FLOATS

THREADS = 1024  # in a block
ROUNDS = 8  # of one block; beyond it more blocks, and a second launch for their sums (not measured)
MOST_BLOCKS = 132  # the multiprocessors of an H200
LABELS = tuple(map(np.dtype, (np.uint8, np.int32, np.int64)))  # which the kernels read


def fits(logits: Array, labels: Array) -> bool:
    """Whether the kernels can take these."""
    return (
        logits.dtype in FLOATS
        and logits.ndim == 2
        and logits.size > 0
        and labels.shape == logits.shape[:1]
        and labels.dtype.kind in "iu"
    )


def readable(backend: Any, labels: Array) -> tuple[Array, np.int64]:
    """Labels as the kernels read them, and their bytes."""
    labels = labels if labels.dtype in LABELS else labels.astype(np.int64)
    return backend.xp.ascontiguousarray(labels), np.int64(labels.itemsize)


def launch_rows(
    backend: Any, file: str, name: str, logits: Array, labels: Array, dtype: Any, *others: Any
) -> Array:
    """Run a kernel over all rows; what its blocks have added up.

    Args:
        backend: whose kernels they are.
        file: with the kernel.
        name: of the kernel.
        logits: (n, classes).
        labels: (n,).
        dtype: of the sums.
        others: an array that the kernel writes, and its numbers, if it has such.
    """
    n, classes = logits.shape
    wide = 1 << (min(classes, 32) - 1).bit_length()
    rounds = -(-n * wide // THREADS)
    sums = backend.xp.empty(1 if rounds <= ROUNDS else min(rounds, MOST_BLOCKS), dtype)
    given = (backend.xp.ascontiguousarray(logits), *readable(backend, labels))
    arguments = (sums, *others[:1], *given, *others[1:], np.int64(n), np.int64(classes))
    backend.kernels.launch(
        file, name, logits.dtype, arguments, blocks=sums.size, threads=(wide, THREADS // wide)
    )
    return sums
