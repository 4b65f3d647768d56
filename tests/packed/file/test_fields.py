"""Fields and arrays are taken once, each with its check."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.packed.file.fields import LIMIT, Fields, StageArrays
from minibnn.windows import Windows


def fields(**values):
    return Fields("stage 3", values)


def test_fields_are_taken_once():
    f = fields(shift=3, size=[2, 3], flags=True, sources=[-1, 0], border=[[1, 2], [0, 3]])
    assert f.integer("shift", 0, 3) == 3
    assert f.pair("size") == (2, 3)
    assert f.integers("sources", -1) == (-1, 0)
    assert f.pairs("border") == ((1, 2), (0, 3))
    with pytest.raises(ValueError, match="stage 3: expected no field 'flags'"):
        f.end()
    assert f.flag("flags")
    f.end()
    with pytest.raises(ValueError, match="expected a field 'shift'"):
        f.integer("shift", 0, 3)


def test_what_is_left_out_is_usual():
    f = fields()
    assert (f.integer("groups", 1, 9), f.integers("sources", -1), f.pair("stride")) == (
        1,
        (),
        (1, 1),
    )
    assert f.names("classes") is None


@pytest.mark.parametrize(
    ("take", "wrong"),
    [
        (lambda f: f.integer("x", -3, 5), [-4, 6, 1.0, True, "1", None, [1], 10**30]),
        (lambda f: f.flag("x"), [0, 1, None, "true"]),
        (lambda f: f.integers("x", -1, 2), [1, [3], [-2], [True], [0.0], {"0": 1}, "12", [[1]]]),
        (lambda f: f.shape("x"), [[], [0], [1] * 9, [LIMIT + 1], [2**20, 2**20], [2.0], 3]),
        (lambda f: f.pair("x"), [[1], [1, 1, 1], [0, 1], [LIMIT + 1, 1], None]),
        (lambda f: f.pairs("x"), [[[1, 1]], [1, 1], [[1, 1], [1]], [[1, 1], [-1, 0]], {}]),
        (lambda f: f.names("x"), [[1], "ab", {"a": 1}, ["a", None]]),
    ],
)  # fmt: skip
def test_wrong_values(take, wrong):
    for value in wrong:
        with pytest.raises(ValueError, match="stage 3: expected"):
            take(fields(x=value))


def test_windows():
    f = fields()
    f.require_windows(Windows((2, 3)), (4, 5, 7), (3, 3, 9))
    for padded, out in (((4, 5), (3, 3, 9)), ((4, 5, 7), (3, 3)), ((4, 5, 7), (3, 4, 9))):
        with pytest.raises(ValueError, match="stage 3: expected"):
            f.require_windows(Windows((2, 3)), padded, out)


def test_only_an_object_has_fields():
    for value in ([], None, 3, "x"):
        with pytest.raises(ValueError, match="stage 3: expected an object"):
            Fields("stage 3", value)


def test_arrays():
    arrays = {"3.A": np.zeros(2, np.int16), "4.A": np.zeros(3, np.int16), "3.C": np.zeros((1, 1))}
    own = StageArrays(3, arrays)
    assert own.has("A")
    assert not own.has("B")
    assert len(own.take("A", np.int16)) == 2
    assert set(own.taken) == {"A"}
    assert set(arrays) == {"4.A", "3.C"}
    for name, dtype in (("A", np.int16), ("C", np.float64)):
        with pytest.raises(ValueError, match=f"stage 3: expected a vector {name} of its dtype"):
            own.take(name, dtype)
    with pytest.raises(ValueError, match="vector A of its dtype"):
        StageArrays(4, arrays).take("A", np.int32, np.int64)
