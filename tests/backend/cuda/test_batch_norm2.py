"""x"""

from __future__ import annotations

import numpy as np
from cuda_on_host import HOST_CUDA, launched

from minibnn.backend.implementations import CUDA

ONES, BYTES = np.ones((4, 3), np.float32), np.arange(3, dtype=np.uint8)


ROW, STEP = np.ones(3, np.float32), np.array(1)


def test_a_gamma_of_1_is_none():
    expected = CUDA["batch_norm"](HOST_CUDA, ONES, ROW, ROW, 1e-5)
    for gamma in (1, 1.0):
        got = CUDA["batch_norm"](HOST_CUDA, ONES, gamma, ROW, 1e-5)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    launched(*["batch_norm"] * 3)
