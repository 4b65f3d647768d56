"""What is said about samples."""

from __future__ import annotations

import numpy as np

from minibnn.data import Samples
from minibnn.data.describe import Described

X = np.array([[1, 5.5], [2, np.nan], [1, 5.5], [1, 5.5], [-0.0, 1], [0.0, 1]])


def samples(**changed):
    arguments = {"name": "pets.csv", "kind": "a table", "feature_names": ["age", "mass"],
                 "groups": list("aabbcc"), "missing": "keep"}  # fmt: skip
    return Samples.of(X, ["cat", "dog", "cat", "dog", "cat", "cat"], **(arguments | changed))


def test_ranges_classes_and_duplicates():
    found = samples().describe()
    assert isinstance(found, Described)
    assert found.table.loc["age"].tolist() == [0, 2, 5 / 6, 3, 0]
    assert found.table.loc["mass"].tolist() == [1, 5.5, 3.7, 2, 1]
    assert found.classes["count"].to_dict() == {"cat": 4, "dog": 2}
    assert (found.groups, found.duplicates, found.conflicts, found.shared) == (3, 3, 1, None)
    text = str(found)
    for word in ("pets.csv: a table", "6 samples of shape (2,), float32", "3 groups", "cat", "mass",
                 "duplicates: 3, 1 with another target"):  # fmt: skip
        assert word in text


def test_samples_in_both_parts_are_counted_whatever_their_dtype():
    test = Samples.of(np.array([[1, 5], [0, 1], [0, 1]]), ["cat"] * 3)
    assert test.x.dtype == np.int16
    found = samples().describe(test)
    assert found.shared == 2
    assert "in this one, too: 2" in str(found)


def test_images_and_numbers():
    images = Samples.of(np.arange(48, dtype=np.uint8).reshape(3, 4, 4), [[1.0, 2], [3, 4], [5, 9]])
    found = images.describe()
    assert found.table.loc["all values", ["low", "high", "different", "missing"]].tolist() == [
        0,
        47,
        48,
        0,
    ]
    assert found.classes["mean"].tolist() == [3, 5]
    none = Samples.of(np.zeros((2, 3))).describe()
    assert (len(none.classes), none.conflicts) == (0, 0)


def test_wide_tables_are_shortened():
    wide = Samples.of(np.zeros((2, 500)), [0, 1], feature_names=[f"f{i}" for i in range(500)])
    assert len(str(wide.describe()).splitlines()) < 70
