"""Counting right answers on the CPU, in C."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.cpu.c_kernels import at, fits
from minibnn.backend.cpu.cross_entropy import are_numbers
from minibnn.backend.implementations import COMPILED


@COMPILED.implements("count_correct")
def count_correct(backend: Any, logits: Array, labels: Array) -> Any:
    """In one pass."""
    if not fits(logits) or logits.ndim != 2 or not 0 < logits.size < 2**31:
        return NotImplemented
    if not are_numbers(labels, len(logits)):
        return NotImplemented
    return np.int64(backend.c.count_correct(*logits.shape, labels.itemsize, at(logits), at(labels)))
