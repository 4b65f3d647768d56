"""one_hot and one_cold: there and back, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibnn import one_cold, one_hot

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("labels", [[0, 3], [3, 0], [0, -1], [2, 200]])
def test_one_label_outside_is_enough_for_one_hot_to_refuse(labels):
    with pytest.raises(ValueError, match=r"one_hot: expected labels in 0..2"):
        one_hot(np.array(labels), 3)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=30))
def test_one_cold_undoes_one_hot(labels):
    hot = one_hot(np.array(labels), 9)
    assert hot.sum() == len(labels)
    assert one_cold(hot).tolist() == labels


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([3], ValueError, r"labels in 0\.\.2"),
        ([-1], ValueError, r"labels in 0\.\.2"),
        ([[1]], ValueError, r"of shape \(batch,\)"),
        ([1.0], TypeError, "expected integer labels"),
    ],
)
def test_one_hot_refuses(labels, error, message):
    with pytest.raises(error, match=message):
        one_hot(np.array(labels), 3)


def test_one_cold_takes_the_first_of_equals_and_refuses_vectors(backend):
    assert backend.to_host(one_cold(backend.asarray([[1.0, 2.0, 2.0]]))).tolist() == [1]
    with pytest.raises(ValueError, match="expected scores of shape"):
        one_cold(backend.asarray([1.0, 2.0]))


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
