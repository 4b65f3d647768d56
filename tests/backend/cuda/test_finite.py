"""Detecting values that are not finite, without waiting for the device."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA, launched

from minibnn.backend.updates import note_finite

FLOATS = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 255, 1100])
def test_what_is_not_finite_is_noted(n, value, dtype):
    for note in (note_finite, partial(HOST_CUDA.run, note_finite)):
        for position in (None, 0, n // 2, n - 1):
            a = np.full(n, np.finfo(dtype).max, dtype)  # a sum of these is not finite
            if position is not None:
                a[position] = value
            for before in (True, False):
                allowed = np.array(before)
                note(allowed, a)
                assert allowed == (before and position is None)
    launched(*["note_finite"] * 8)


def test_what_the_kernel_cannot_take_is_looked_at_all_the_same():
    a = np.zeros((4, 6), np.float32)
    for view in (a[:, ::2], a.astype(np.float16), np.zeros(3, int)):
        allowed = np.array(True)
        HOST_CUDA.run(note_finite, allowed, view)
        assert allowed
    a[1, 2] = np.nan
    for view in (a[:, ::2], a.astype(np.float16)):
        allowed = np.array(True)
        HOST_CUDA.run(note_finite, allowed, view)
        assert not allowed
    launched()
