"""DataFrames with columns of any kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from minibnn.data import SamplesError
from minibnn.data.frames import from_frame, is_frame


def test_only_frames_are_frames():
    assert is_frame(pd.DataFrame({"a": [1]}))
    assert not any(map(is_frame, (pd.Series([1]), np.zeros((1, 1)), [[1]], None)))


@pytest.mark.parametrize(
    ("column", "values", "name"),
    [
        ([1, 2], [1, 2], "a"),
        ([1.5, np.nan], [1.5, np.nan], "a"),
        ([True, False], [1, 0], "a"),
        (pd.array([1, None], dtype="Int64"), [1, np.nan], "a"),
        (pd.array([1.5, None], dtype="Float64"), [1.5, np.nan], "a"),
        (pd.array([True, None], dtype="boolean"), [1, np.nan], "a"),
        (["y", "x"], [1, 0], "a: 0 x, 1 y"),
        (["y", None], [0, np.nan], "a: 0 y"),
        (pd.Categorical(["y", "x"], categories=["y", "z", "x"]), [1, 0], "a: 0 x, 1 y"),
        (pd.array(["y", pd.NA], dtype="string"), [0, np.nan], "a: 0 y"),
    ],
)
def test_columns_of_any_kind(column, values, name):
    x, names = from_frame("t", pd.DataFrame({"a": column}))
    np.testing.assert_array_equal(x[:, 0].astype(float), values)
    assert names == (name,)


def test_whole_numbers_stay_exact_beside_each_other():
    x, _ = from_frame("t", pd.DataFrame({"a": [2**60 + 1, 1], "b": ["u", "v"]}))
    assert x.dtype == np.int64
    assert x[0, 0] == 2**60 + 1


def test_what_is_neither_is_named():
    for column in ([object(), 1], pd.to_datetime(["2020-01-01", "2021-01-01"]), [["a"], ["b"]]):
        with pytest.raises(SamplesError, match="column 'when'"):
            from_frame("t", pd.DataFrame({"when": column}))
    with pytest.raises(SamplesError, match="a DataFrame with columns"):
        from_frame("t", pd.DataFrame(index=range(3)))
