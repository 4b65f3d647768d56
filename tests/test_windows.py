"""Windows on images: counts, positions and overlap, compared with plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minibnn.windows import Windows

CASES = [
    Windows((1, 1)),
    Windows((2, 3)),
    Windows((3, 2), (2, 1)),
    Windows((2, 2), (3, 3)),
    Windows((2, 3), (1, 2), (3, 2)),
]


@pytest.mark.parametrize("windows", CASES, ids=str)
def test_counts_and_positions_by_loops(windows):
    shape = (1, 9, 8, 1)
    image = np.arange(72).reshape(shape)
    (height, width), (down, across), (dy, dx) = windows[:3]
    starts = [
        [(p, q) for q in range(0, shape[2], across) if q + (width - 1) * dx < shape[2]]
        for p in range(0, shape[1], down)
        if p + (height - 1) * dy < shape[1]
    ]
    counts = windows.counts(shape)
    assert counts == (len(starts), len(starts[0]))
    seen = []
    for i, j, rows, columns in windows.positions(counts):
        expected = [[image[0, p + i * dy, q + j * dx, 0] for p, q in row] for row in starts]
        np.testing.assert_array_equal(image[0, rows, columns, 0], expected)
        seen.append((i, j))
    assert seen == list(itertools.product(range(height), range(width)))
    assert windows.share == 1 / (height * width)
    pixels = np.concatenate(
        [np.ravel(image[0, rows, columns, 0]) for _, _, rows, columns in windows.positions(counts)]
    )
    assert not (len(set(pixels.tolist())) < len(pixels) and not windows.overlap)


def test_no_window_fits():
    assert min(Windows((3, 3)).counts((1, 2, 5, 1))) <= 0


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
