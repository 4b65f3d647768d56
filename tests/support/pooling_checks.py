"""Pooling on the device whose kernels run on the host, equal to the references."""

from __future__ import annotations

import numpy as np
from cuda_on_host import HOST_CUDA

from minibnn.layers.pooling import average_pool, average_pool_gradient, max_pool, max_pool_gradient


def check_equal(reference, *arguments):
    result = HOST_CUDA.run(reference, *arguments)
    np.testing.assert_array_equal(result, reference(*arguments), strict=True)
    return result


def check_max_pool(x, windows, rng):
    y, position = HOST_CUDA.run(max_pool, x, windows, True)
    expected_y, expected_position = max_pool(x, windows, True)
    np.testing.assert_array_equal(y, expected_y, strict=True)
    np.testing.assert_array_equal(position, expected_position, strict=True)
    alone, none = HOST_CUDA.run(max_pool, x, windows, False)
    np.testing.assert_array_equal(alone, expected_y, strict=True)
    assert none is None
    dy = rng.standard_normal(y.shape).astype(x.dtype)  # of any size: the sums have one order
    check_equal(max_pool_gradient, dy, position, windows, x.shape)


def check_average_pool(x, windows, rng):
    y = check_equal(average_pool, x, windows)
    dy = rng.standard_normal(y.shape).astype(x.dtype)
    check_equal(average_pool_gradient, dy, windows, x.shape)
