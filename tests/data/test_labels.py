"""One-hot labels and back."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    one_cold,
    one_hot,
)

NAN, INF = np.nan, np.inf


def test_one_cold_knows_no_class_of_nan(backend):
    with pytest.raises(
        ValueError, match=r"one_cold: expected scores without nan, got nan in row 1"
    ):
        one_cold(backend.asarray(np.array([[1.0, 2.0], [NAN, 0.0]])))
    with pytest.raises(ValueError, match=r"one_cold: expected at least 2 classes.*ravel"):
        one_cold(backend.asarray(np.array([[1.0], [2.0]])))
    with pytest.raises(ValueError, match="one_cold: expected at least 2 classes"):
        one_cold(backend.asarray(np.zeros((3, 0))))
    assert backend.to_host(one_cold(backend.asarray(np.array([[INF, 0.0]])))).tolist() == [0]
    assert backend.to_host(one_cold(backend.asarray(np.zeros((0, 3))))).shape == (0,)
    booleans = one_hot(np.array([2, 0]), 3, bool)
    assert backend.to_host(one_cold(backend.asarray(booleans))).tolist() == [2, 0]
