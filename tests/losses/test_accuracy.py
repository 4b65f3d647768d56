"""Only a finite logit can be the right answer."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.losses.accuracy import count_correct

NAN, INF = np.nan, np.inf


# Logits of a sample, and whether an answer of class 0 counts as right.
ROWS = [
    ([3, 1, 2], True),
    ([3, 3, 2], True),  # the first of equals
    ([-1, -INF, -INF], True),  # classes that were ruled out
    ([NAN, 1, 2], False),
    ([1, NAN, 0], False),
    ([3, 1, NAN], False),
    ([INF, 1, 2], False),
    ([INF, INF, INF], False),
    ([-INF, -INF, -INF], False),
    ([NAN, NAN, NAN], False),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_a_finite_logit_can_be_right(dtype, backend):
    for row, right in ROWS:
        logits, labels = backend.asarray(np.array([row], dtype)), backend.asarray(np.array([0]))
        assert backend.to_host(backend.run(count_correct, logits, labels)) == right, row
    logits = backend.asarray(np.array([row for row, _ in ROWS], dtype))
    labels = backend.asarray(np.zeros(len(ROWS), np.uint8))
    assert backend.to_host(backend.run(count_correct, logits, labels)) == sum(r for _, r in ROWS)
