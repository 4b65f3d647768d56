"""Cross-entropy and its gradient on the GPU, for integer labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cuda.batch_norm import two_stage_sum
from minibnn.backend.cuda.labels import fits, launch_rows, readable
from minibnn.backend.implementations import CUDA


@CUDA.implements("cross_entropy", roundings=4)
def cross_entropy(backend: Any, logits: Array, labels: Array, smoothing: float) -> Any:
    """In one kernel; in two for large batches.

    For a label outside the classes the loss is nan, where the reference raises.
    """
    if not fits(logits, labels):
        return NotImplemented
    kind, p = logits.dtype.type, backend.xp.empty(logits.shape, logits.dtype)
    numbers = kind(1 - smoothing), kind(smoothing / logits.shape[1])
    sums = launch_rows(
        backend, "cross_entropy", "cross_entropy", logits, labels, logits.dtype, p, *numbers
    )
    loss = sums if sums.size == 1 else two_stage_sum(backend, sums[:, None], None)
    return loss.reshape(()), p


@CUDA.implements("cross_entropy_gradient")
def cross_entropy_gradient(backend: Any, p: Array, labels: Array, smoothing: float) -> Array:
    """In one kernel. A label outside the classes is ignored, where the reference raises."""
    if not fits(p, labels):
        return NotImplemented
    n, classes = p.shape
    dlogits, kind = backend.xp.empty(p.shape, p.dtype), p.dtype.type
    given = (backend.xp.ascontiguousarray(p), *readable(backend, labels))
    numbers = kind((1 - smoothing) / n), kind(smoothing / (n * classes))
    arguments = (dlogits, *given, *numbers, np.int64(n), np.int64(classes))
    backend.kernels.each("cross_entropy", "cross_entropy_gradient", p.dtype, p.size, arguments)
    return dlogits
