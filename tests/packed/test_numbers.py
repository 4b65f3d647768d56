"""Every number of a dtype has a place in their order."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.packed.numbers import Numbers
from minibnn.packed.stages import DTYPES

SPECIAL = np.array([-np.inf, np.inf, 0.0, 1e-45, -1e-45, 3.4e38, -3.4e38], np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_have_places(dtype, rng):
    numbers = Numbers(dtype)
    if dtype == "float32":
        x = rng.integers(0, 2**32, 2000, np.uint32).view(np.float32)
        x = np.sort(np.concatenate([x[~np.isnan(x)], SPECIAL]))
    else:
        x = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype)
    places = numbers.place(x)
    np.testing.assert_array_equal(numbers.value(places), x)
    assert numbers.value(places).dtype == np.dtype(dtype)
    assert (np.diff(places)[np.diff(x.astype(float)) > 0] > 0).all()
    assert numbers.ends == (places[0], places[-1])
    beyond = np.array([numbers.ends[0] - 1, numbers.ends[1] + 1])
    np.testing.assert_array_equal(numbers.value(beyond), x[[0, -1]])
    if dtype == "float32":
        near = np.nextafter(x[1:-1], np.float32(np.inf))
        steps = numbers.place(near) - places[1:-1]
        assert set(steps.tolist()) <= {1, 2}  # 2 over the other zero


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_place(dtype):
    """Also where nothing holds, and where everything does."""
    numbers = Numbers(dtype)
    for limit in (-100, 0, 7, 1e9):
        first = numbers.first(lambda x, limit=limit: x.astype(np.float64) >= limit, (1,))
        assert first.shape == (1,)
        if dtype == "float32":
            assert numbers.value(first) == limit
        else:
            ends = np.iinfo(dtype)
            assert first == min(max(limit, ends.min), ends.max + 1)
