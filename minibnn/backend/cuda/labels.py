"""Launching kernels that compare rows of logits with labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.kernels import FLOATS

THREADS = 1024  # in a block
ROUNDS = 8  # of one block, at most; beyond, more blocks and a launch for their sums (not measured)
MOST_BLOCKS = 132  # the multiprocessors of an H200
LABELS = tuple(map(np.dtype, (np.uint8, np.int32, np.int64)))  # that the kernels can read


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
    """Labels of a dtype that the kernels can read, and the bytes of one label."""
    labels = labels if labels.dtype in LABELS else labels.astype(np.int64)
    return backend.xp.ascontiguousarray(labels), np.int64(labels.itemsize)


def launch_rows(
    backend: Any, file: str, name: str, logits: Array, labels: Array, dtype: Any, *others: Any
) -> Array:
    """Run a kernel over all rows; return the partial sum of each thread block.

    Args:
        backend: launches the kernel.
        file: the kernel's file.
        name: the kernel's name.
        logits: (n, classes).
        labels: (n,).
        dtype: the dtype of the sums.
        others: further arguments of the kernel: an array that it writes, and scalars.
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
