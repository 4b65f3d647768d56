"""The cross-entropy on the CPU, in C: for class numbers, without label smoothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cpu.c_kernels import FLOAT32, at, fits
from minibnn.backend.implementations import COMPILED

# C's exponential computes one number at a time. For rows of 100 it is slower than NumPy (39 us
# against 21 for a batch of 100), for rows of 10 faster (6 us against 9).
FEW_CLASSES = 40
LABELS = np.dtype(np.uint8), np.dtype(np.int64)  # in the machine's order of bytes


@COMPILED.implements("cross_entropy", roundings=4)
def cross_entropy(backend: Any, logits: Array, labels: Array, smoothing: float) -> Any:
    """Softmax and scores in one call."""
    if smoothing or not _few(logits) or not are_numbers(labels, len(logits)):
        return NotImplemented
    p, scratch = np.empty(logits.shape, FLOAT32), np.empty(logits.shape, FLOAT32)
    scores = np.empty(len(logits), FLOAT32)
    sizes, arrays = (*logits.shape, labels.itemsize), (logits, labels, scratch, p, scores)
    if not backend.c.cross_entropy(*sizes, *map(at, arrays)):
        return NotImplemented
    return -scores.sum() / len(scores), p


@COMPILED.implements("cross_entropy_gradient")
def cross_entropy_gradient(backend: Any, p: Array, labels: Array, smoothing: float) -> Array:
    """In one pass."""
    if smoothing or not fits(p) or p.ndim != 2 or not are_numbers(labels, len(p)):
        return NotImplemented
    dlogits = np.empty(p.shape, FLOAT32)
    sizes, arrays = (*p.shape, labels.itemsize), (p, labels, dlogits)
    if not backend.c.cross_entropy_gradient(*sizes, *map(at, arrays), 1 / len(p)):
        return NotImplemented
    return dlogits


@COMPILED.implements("log_softmax", roundings=4)
def log_softmax(backend: Any, logits: Array) -> Any:
    """For rows of few classes."""
    if not _few(logits):
        return NotImplemented
    logp, p = np.empty(logits.shape, FLOAT32), np.empty(logits.shape, FLOAT32)
    backend.c.log_softmax(*logits.shape, at(logits), at(logp), at(p))
    return logp, p


def _few(logits: Array) -> bool:
    return fits(logits) and logits.ndim == 2 and 0 < logits.shape[1] <= FEW_CLASSES


def are_numbers(labels: Array, samples: int) -> bool:
    """Whether C can take these labels: a class number for each sample; one at least."""
    if labels.dtype not in LABELS or not labels.flags.carray:
        return False
    return labels.shape == (samples,) and samples > 0
