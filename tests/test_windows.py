"""Windows: whether they overlap."""

from __future__ import annotations

import numpy as np

from minibnn.windows import Windows


def test_windows_that_overlap():
    for size, stride, dilation, overlap in [
        ((2, 2), (2, 2), (1, 1), False),
        ((2, 2), (1, 2), (1, 1), True),
        ((2, 2), (2, 1), (1, 1), True),
        ((2, 1), (3, 1), (2, 1), False),
        ((2, 1), (2, 1), (2, 1), True),
    ]:
        windows = Windows(size, stride, dilation)
        seen = np.zeros((1, 6, 6, 1), int)
        for _, _, rows, columns in windows.positions(windows.counts(seen.shape)):
            seen[:, rows, columns] += 1
        assert windows.overlap == overlap == (seen.max() > 1)
