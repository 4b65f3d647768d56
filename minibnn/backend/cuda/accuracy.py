"""Counting right answers on the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.labels import THREADS, fits, launch_rows
from minibnn.backend.implementations import CUDA


@CUDA.implements("count_correct")
def count_correct(backend: Any, logits: Array, labels: Array) -> Array:
    """In one kernel; in two for large batches."""
    if not fits(logits, labels):
        return NotImplemented
    sums = launch_rows(backend, "accuracy", "count_correct", logits, labels, np.int64)
    if sums.size == 1:
        return sums.reshape(())
    count = backend.xp.empty((), np.int64)
    arguments = (count, sums, np.int64(sums.size))
    backend.kernels.launch(
        "accuracy", "add_counts", logits.dtype, arguments, blocks=1, threads=THREADS
    )
    return count
