"""Numbers of any dtype become one of four, exactly or with an error; test_samples.py has more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minibnn.data import SamplesError
from minibnn.data.narrow import narrow, place

INTEGERS = ["u1", "i1", "u2", "<i2", ">i2", "u4", ">i4", "i8", "u8"]


@settings(deadline=None)
@given(st.sampled_from(INTEGERS).flatmap(lambda d: arrays(d, st.sampled_from([(3, 2), (2, 2, 2)]))))
def test_integers_are_exact_or_refused(x):
    try:
        y = narrow("x", x, None)
    except SamplesError:
        assert max(abs(int(v)) for v in x.ravel()) > 2**24
        return
    assert y.dtype in (np.uint8, np.int8, np.int16, np.float32)
    assert [int(v) for v in y.ravel()] == [int(v) for v in x.ravel()]


def test_the_limits():
    for value, dtype in ((2**15 - 1, "int16"), (2**15, "float32"), (2**24, "float32")):
        assert narrow("x", np.array([[value, -5]]), None).dtype == dtype
    with pytest.raises(SamplesError, match=r"row 1, column 2, got 16777217"):
        narrow("x", np.array([[0, 2**24 + 1]]), None)


def test_places_in_words():
    assert place((2,), None) == "row 3"
    assert place((2, 1), None) == "row 3, column 2"
    assert place((2, 1), ["a", "b"]) == "row 3, column 'b'"
    assert place((2, 1, 0), None) == "sample 3, [1, 0]"
