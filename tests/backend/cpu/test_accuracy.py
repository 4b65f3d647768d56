"""Counting right answers in C beside the reference."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from devices import built

from minibnn.backend import CPU
from minibnn.backend.cpu import accuracy
from minibnn.losses.accuracy import count_correct

VALUES = np.nan, -np.inf, np.inf, -1.0, -0.0, 0.0, 2.0


@built
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("label", [0, 1, 2, 3])
def test_all_rows_of_three_special_values(label, dtype):
    """Each row on its own, and all of them."""
    logits = np.array(list(product(VALUES, repeat=3)), np.float32)
    labels = np.full(len(logits), label, dtype)
    for i in range(len(logits)):
        row = logits[i : i + 1], labels[i : i + 1]
        assert CPU.run(count_correct, *row) == count_correct(*row), row
    got = CPU.run(count_correct, logits, labels)
    assert (got, type(got)) == (count_correct(logits, labels), np.int64)


@built
def test_labels_and_logits_that_c_does_not_take(rng):
    logits = rng.standard_normal((50, 10)).astype(np.float32)
    labels = logits.argmax(axis=1)
    labels[::3] -= 1  # also to -1, which is no class
    expected = count_correct(logits, labels)
    assert CPU.run(count_correct, logits, labels) == expected
    swapped = labels.astype(">i8")
    others = labels.astype(np.int32), labels.astype(np.int8), np.repeat(labels, 2)[::2], swapped
    for other in others:
        assert accuracy.count_correct(CPU, logits, other) is NotImplemented
        assert CPU.run(count_correct, logits, other) == expected
    for other in (logits.astype(np.float64), np.asfortranarray(logits)):
        assert accuracy.count_correct(CPU, other, labels) is NotImplemented
        assert CPU.run(count_correct, other, labels) == expected
    assert CPU.run(count_correct, logits[:0], labels[:0]) == 0
