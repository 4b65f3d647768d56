"""Losses and counts of integer labels on the GPU: the launches of `cuda/classes.cu`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.classes import Classes
from minibnn.backend.cuda.batch_norm import two_stage_sum
from minibnn.backend.cuda.kernels import Kernels

THREADS = 1024  # in a block
TURNS = 8  # of one block, before a second launch for the blocks' sums costs less than more turns
MOST_BLOCKS = 132  # the multiprocessors of an H200
LABELS = tuple(map(np.dtype, (np.uint8, np.int32, np.int64)))  # which the kernels read


class CupyClasses(Classes):
    """Part of `CupyBackend`."""

    kernels: Kernels

    def cross_entropy(
        self, logits: Array, labels: Array, smoothing: float = 0.0
    ) -> tuple[Array, Any]:
        """As the plain body, in one kernel, in two for large batches; the gradient comes with it.

        The loss is nan for a label that is no class, where the plain body raises.
        """
        if not _fits(logits, labels):
            return super().cross_entropy(logits, labels, smoothing)
        n, classes = logits.shape
        number, gradient = logits.dtype.type, self.xp.empty(logits.shape, logits.dtype)
        keep, part = 1 - smoothing, smoothing / classes
        numbers = tuple(map(number, (keep, part, keep / n, smoothing / (n * classes))))
        sums = self._launch_classes(
            "cross_entropy", logits, labels, logits.dtype, gradient, *numbers
        )
        loss = sums if sums.size == 1 else two_stage_sum(self, sums[:, None], None)
        return loss.reshape(()), gradient

    def cross_entropy_gradient(self, kept: Any, labels: Array, smoothing: float = 0.0) -> Array:
        """What `cross_entropy` has already made."""
        if isinstance(kept, tuple):
            return super().cross_entropy_gradient(kept, labels, smoothing)
        return kept

    def count_correct(self, logits: Array, labels: Array) -> Array:
        """As the plain body, in one kernel; in two for large batches."""
        if not _fits(logits, labels):
            return super().count_correct(logits, labels)
        sums = self._launch_classes("count_correct", logits, labels, np.int64)
        if sums.size == 1:
            return sums.reshape(())
        count = self.xp.empty((), np.int64)
        arguments = (count, sums, np.int64(sums.size))
        self.kernels.launch(
            "classes", "add_counts", logits.dtype, arguments, blocks=1, threads=THREADS
        )
        return count

    def _launch_classes(
        self, name: str, logits: Array, labels: Array, dtype: Any, *others: Any
    ) -> Array:
        """Run a kernel over all rows; what its blocks have added up."""
        n, classes = logits.shape
        wide = 1 << (min(classes, 32) - 1).bit_length()
        turns = -(-n * wide // THREADS)
        sums = self.xp.empty(1 if turns <= TURNS else min(turns, MOST_BLOCKS), dtype)
        labels = labels if labels.dtype in LABELS else labels.astype(np.int64)
        arrays = (self.xp.ascontiguousarray(logits), self.xp.ascontiguousarray(labels))
        gradient, numbers = others[:1], others[1:]
        sizes = (np.int64(n), np.int64(classes))
        arguments = (sums, *gradient, *arrays, np.int64(labels.itemsize), *numbers, *sizes)
        self.kernels.launch(
            "classes",
            name,
            logits.dtype,
            arguments,
            blocks=sums.size,
            threads=(wide, THREADS // wide),
        )
        return sums


def _fits(logits: Array, labels: Array) -> bool:
    """Whether the kernels can take these."""
    return (
        logits.dtype in (np.float32, np.float64)
        and logits.ndim == 2
        and logits.size > 0
        and labels.shape == logits.shape[:1]
        and labels.dtype.kind in "iu"
    )
