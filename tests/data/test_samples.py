"""Labelled samples: what they are made from, how they are split, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from minibnn.data import Samples, SamplesError

RNG = np.random.default_rng(0)
X = np.arange(24.0).reshape(12, 2)
Y = np.repeat(["cat", "dog", "emu"], 4)


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (X, "float32"),
        (X.astype(np.float16), "float32"),
        (X > 3, "uint8"),
        (X.astype(np.uint8), "uint8"),
        (X.astype(np.int8), "int8"),
        (X.astype(">i2"), "int16"),
        (X.astype(np.int64), "int16"),  # a table may have -1 or 300 tomorrow
        (X.astype(np.int64) * 100, "int16"),
        (X.astype(np.int64) * 10_000, "float32"),
        (X.astype(np.int64).reshape(12, 2, 1), "uint8"),  # pixels
        (X.astype(np.int64).reshape(12, 2, 1) - 1, "int16"),
        (X.tolist(), "float32"),
        (pd.DataFrame(X), "float32"),
        (pd.DataFrame(X.astype(int)), "int16"),
    ],
)
def test_dtypes_hold_what_they_get(x, dtype):
    samples = Samples.of(x, Y)
    assert samples.x.dtype == dtype
    assert samples.x.flags.c_contiguous
    assert samples.x.dtype.isnative
    np.testing.assert_array_equal(samples.x, np.asarray(x, np.float64))


@pytest.mark.parametrize(
    ("y", "names", "numbers"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([10, 9, 10], ("9", "10"), [1, 0, 1]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        (np.array([3, 1, 3], np.uint8), ("1", "3"), [1, 0, 1]),
        (np.array([[3], [1], [3]]), ("1", "3"), [1, 0, 1]),
        (pd.Series(["b", "a", "b"], dtype="category"), ("a", "b"), [1, 0, 1]),
        (pd.Series(["b", "a", "b"], dtype="string"), ("a", "b"), [1, 0, 1]),
        (np.array(["b", "a", "b"], object), ("a", "b"), [1, 0, 1]),
    ],
)
def test_classes_are_sorted_and_numbered(y, names, numbers):
    samples = Samples.of(X[:3], y)
    assert samples.class_names == names
    assert samples.y.dtype == np.int64
    assert samples.y.tolist() == numbers
    assert samples.target == "2 classes"


def test_floats_are_numbers_unless_they_are_called_classes():
    assert Samples.of(X[:3], [1.0, 2.0, 1.0]).class_names is None
    assert Samples.of(X[:3], [1.0, 2.0, 1.0], classes=True).class_names == ("1", "2")
    numbers = Samples.of(X[:3], [1, 2, 1], classes=False)
    assert (numbers.y.dtype, numbers.target) == (np.float32, "1 number")
    two = Samples.of(X[:3], np.ones((3, 2)))
    assert (two.y.shape, two.target) == ((3, 2), "2 numbers")
    none = Samples.of(X[:3])
    assert (none.y.shape, none.target) == ((3, 0), "no target")


def test_a_frame_names_the_features_and_codes_its_texts():
    frame = pd.DataFrame(
        {"mass": [1.5, 2.5, 3.5], "island": ["Dream", "Biscoe", "Dream"], 7: [True, False, True]}
    )
    samples = Samples.of(frame, ["a", "b", "a"])
    assert samples.feature_names == ("mass", "island: 0 Biscoe, 1 Dream", "7")
    assert samples.x.tolist() == [[1.5, 1, 1], [2.5, 0, 0], [3.5, 1, 1]]


def test_missing_values_are_refused_kept_or_dropped():
    x = X.copy()
    x[2, 1] = np.nan
    with pytest.raises(SamplesError, match="row 3, column 'b'"):
        Samples.of(x, Y, feature_names=["a", "b"])
    kept = Samples.of(x, Y, missing="keep")
    assert np.isnan(kept.x[2, 1])
    dropped = Samples.of(x, Y, missing="drop", groups=np.arange(12))
    assert dropped.groups.tolist() == [0, 1, *range(3, 12)]
    assert len(dropped) == 11
    lost = np.where(np.arange(12) == 5, None, Y)
    assert len(Samples.of(x, lost, missing="drop")) == 10
    with pytest.raises(SamplesError, match="a class in row 6"):
        Samples.of(X, lost)
    with pytest.raises(ValueError, match="'refuse', 'keep' or 'drop'"):
        Samples.of(X, Y, missing="ignore")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": X[0]}, "first axis"),
        ({"x": 3}, "an array of samples"),
        ({"x": [[1], [1, 2]], "y": [0, 1]}, "rows of one length"),
        ({"x": X[:0], "y": Y[:0]}, "at least one sample"),
        ({"x": X[:, :0]}, "at least one value"),
        ({"y": Y[:5]}, "12 samples and 5 in y"),
        ({"groups": [1, 2]}, "12 samples and 2 in groups"),
        ({"feature_names": ["a"]}, "2 feature names"),
        ({"x": X * 1e300}, "float32 holds at row 1, column 2"),
        ({"x": X.astype(complex)}, "complex128"),
        ({"x": np.full((12, 2), "a")}, "numbers in x"),
        ({"x": np.full((12, 2), object())}, "numbers in x"),
        ({"y": np.ones((12, 2), int)}, "classes of shape"),
        ({"y": np.linspace(0, 1, 12), "classes": True}, "a class in row 2"),
        ({"y": np.full(12, np.inf)}, "row 1"),
        ({"y": Y, "classes": False}, "numbers in y"),
        ({"y": Y, "class_names": ["a"]}, "class numbers beside class_names"),
        ({"y": np.arange(12), "class_names": ["a"]}, "below 1 in row 2"),
        ({"x": pd.DataFrame({"a": [object()] * 12})}, "numbers or texts in column 'a'"),
    ],
)
def test_what_is_refused(arguments, words):
    with pytest.raises(SamplesError, match=words) as caught:
        Samples.of(**{"x": X, "y": Y, "name": "pets"} | arguments)
    assert str(caught.value).startswith("pets: expected ")


def test_the_constructor_checks_dtypes():
    with pytest.raises(SamplesError, match="float64"):
        Samples("a", X, np.zeros(12, np.int64), ("x",))
    with pytest.raises(SamplesError, match="int32"):
        Samples("a", X.astype(np.float32), np.zeros(12, np.int32), ("x",))


def test_classes_are_numbered_as_a_model_has_them():
    samples = Samples.of(X[:3], ["dog", "cat", "dog"])
    again = samples.with_classes(("ant", "cat", "dog"))
    assert again.y.tolist() == [2, 1, 2]
    assert again.class_names == ("ant", "cat", "dog")
    with pytest.raises(SamplesError, match="class 'dog' at row 1"):
        samples.with_classes(("ant", "cat"))
    with pytest.raises(SamplesError, match="1 number"):
        Samples.of(X[:3], [0.5, 1, 2]).with_classes(("a",))


def test_splits_are_reproducible_stratified_and_keep_the_order():
    y = np.repeat([0, 1, 2], [60, 30, 10])
    samples = Samples.of(np.arange(200).reshape(100, 2), y)
    first, second = samples.split(0.2, rng=3)
    assert np.bincount(first.y).tolist() == [48, 24, 8]
    assert np.bincount(second.y).tolist() == [12, 6, 2]
    together = sorted([*first.x[:, 0].tolist(), *second.x[:, 0].tolist()])
    assert together == list(range(0, 200, 2))
    assert first.x[:, 0].tolist() == sorted(first.x[:, 0].tolist())
    again = samples.split(0.2, rng=np.random.default_rng(3))
    assert np.array_equal(again[1].x, second.x)
    assert not np.array_equal(samples.split(0.2, rng=4)[1].x, second.x)
    assert len(samples.split(0.25, rng=0, stratify=False)[1]) == 25


def test_a_group_is_never_on_both_sides():
    people = np.repeat(np.arange(10), 10)
    samples = Samples.of(RNG.random((100, 2)), np.tile([0, 1], 50), groups=people)
    for seed in range(20):
        first, second = samples.split(0.3, rng=seed)
        assert not set(first.groups) & set(second.groups)
        assert len(second) == 30
        assert np.bincount(second.y).tolist() == [15, 15]
    first, second = samples.split(0.3, rng=0, by_group=False)
    assert set(first.groups) & set(second.groups)


def test_splits_that_cannot_be():
    with pytest.raises(SamplesError, match="two samples"):
        Samples.of(X[:1], Y[:1]).split(0.5, rng=0)
    with pytest.raises(SamplesError, match="two groups"):
        Samples.of(X, Y, groups=np.zeros(12)).split(0.5, rng=0)
    with pytest.raises(SamplesError, match="groups to split by"):
        Samples.of(X, Y).split(0.5, rng=0, by_group=True)
    for wrong in (0, 1, 1.5):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Samples.of(X, Y).split(wrong, rng=0)


def test_repr_and_errors_can_be_copied():
    import copy
    import pickle

    assert repr(Samples.of(X, Y)) == "Samples('data', 12 of shape (2,) float32, 3 classes)"
    error = SamplesError("a", "b", "c", "d")
    assert (
        str(pickle.loads(pickle.dumps(error))) == str(copy.copy(error)) == "a: expected b, got c; d"
    )
