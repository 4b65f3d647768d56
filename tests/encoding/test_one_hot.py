"""One-hot codes against dictionaries of categories."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minibnn import OneHotCode

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "float32"]
)
def test_signs(dtype, backend, rng):
    """One +1 for each feature, at the category's place in rising order."""
    x = (rng.integers(0, 2 if dtype == "bool" else 7, (50, 3)) * [1, 2, 3]).astype(dtype)
    if dtype not in ("bool", "uint8", "uint16"):
        x -= x.dtype.type(4)
    code = OneHotCode(3, 8).fit(x).to(backend)
    y = backend.to_host(code.forward(backend.asarray(x)))
    assert y.dtype == np.float32
    assert y.shape == (50, 24)
    for f in range(3):
        place = {c: k for k, c in enumerate(sorted({float(a) for a in x[:, f]}))}
        for row, value in zip(y[:, 8 * f : 8 * f + 8], x[:, f], strict=True):
            expected = [-1] * 8
            expected[place[float(value)]] = 1
            assert row.tolist() == expected


def test_values_that_are_no_categories():
    code = OneHotCode(1, 4).fit(np.array([[3.0], [NAN], [-1], [3]], np.float32))
    assert code.values.data[0, :2].tolist() == [-1, 3]
    assert np.isnan(code.values.data[0, 2:]).all()
    exactly = OneHotCode(1, 2).fit(np.array([[3.0], [NAN], [-1], [NAN]]))  # nan takes no place
    assert exactly.values.data.tolist() == [[-1, 3]]
    x = np.array([[NAN], [INF], [-INF], [2.9999998], [0], [3]], np.float32)
    assert code.forward(x).tolist() == [[-1] * 4] * 5 + [[-1, 1, -1, -1]]


def test_infinity_and_zero_are_categories():
    code = OneHotCode(1, 4).fit(np.array([[-0.0], [0.0], [INF], [-INF]], np.float32))
    x = np.array([[-INF], [0.0], [-0.0], [INF], [3e38]], np.float32)
    assert (code.forward(x) > 0).astype(int).tolist() == [
        [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0],
    ]  # fmt: skip


def test_a_constant_column_is_one_category():
    code = OneHotCode(1, 2).fit(np.full((5, 1), 7))
    assert code.forward(np.array([[7], [8]])).tolist() == [[1, -1], [-1, -1]]


def test_too_many_categories():
    x = np.arange(12).reshape(6, 2) // [12, 2]
    with pytest.raises(ValueError, match=r"expected at most 5 categories, got 6 in feature 1; "):
        OneHotCode(2, 5).fit(x)
    assert (OneHotCode(2, 6).fit(x).forward(x)[:, 6:] > 0).sum() == 6


def test_whole_numbers_that_the_dtype_lacks():
    """They would be one category, or none."""
    x = np.array([[2**24], [2**24 + 1], [5]])
    with pytest.raises(ValueError, match="expected categories that float32 has, got 16777217"):
        OneHotCode(1, 3).fit(x)
    code = OneHotCode(1, 3).initialize(0, np.float64).fit(x)
    assert (code.forward(x) > 0).astype(int).tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    tenths = np.array([[0.1], [0.2]])  # no float32 either, but what forward gets is
    assert (OneHotCode(1, 2).fit(tenths).forward(tenths.astype(np.float32)) > 0).tolist() == [
        [True, False],
        [False, True],
    ]


def test_arguments():
    for features, categories in ((0, 2), (2, 0)):
        with pytest.raises(ValueError, match="OneHotCode: expected"):
            OneHotCode(features, categories)
    assert repr(OneHotCode(3, 5)) == "OneHotCode(3, 5)"


def test_the_gradient_is_zero(rng):
    x = rng.integers(0, 4, (9, 3))
    code = OneHotCode(3, 4).fit(x)
    code.forward(x, train=True)
    dx = code.backward(np.ones((9, 12), np.float32))
    assert dx.shape == (9, 3)
    assert not dx.any()
