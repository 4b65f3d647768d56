"""Arrays in NumPy's files."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.data import SamplesError, read_parts, read_samples
from minibnn.data.arrays import array_samples, read_npy, read_npz

X = np.arange(24.0).reshape(6, 2, 2)
Y = np.array([2, 0, 2, 0, 2, 0])


@pytest.mark.parametrize(
    "array",
    [X, X.T, X.astype(">f4"), X > 2, Y, np.array(["a", "grün"]), np.array([b"a", b"b"]), np.zeros((0, 3)),
     np.array(5)],
)  # fmt: skip
def test_arrays_come_back(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    got = read_npy(tmp_path / "a.npy")
    expected = array.astype(str) if array.dtype.kind == "S" else array
    np.testing.assert_array_equal(got, expected)
    assert got.dtype.isnative
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", one=array, other=Y)
        found = read_npz(tmp_path / "a.npz")
        np.testing.assert_array_equal(found["one"], expected)
        assert set(found) == {"one", "other"}


def test_sizes_are_bounded(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "a.npz", x=X, y=X)
    assert read_npy(tmp_path / "a.npy", max_bytes=X.nbytes).shape == X.shape
    with pytest.raises(SamplesError, match="at most"):
        read_npy(tmp_path / "a.npy", max_bytes=X.nbytes - 1)
    with pytest.raises(SamplesError, match="at most"):
        read_npz(tmp_path / "a.npz", max_bytes=2 * X.nbytes)


@pytest.mark.parametrize(
    ("x", "y"),
    [("x", "y"), ("X", "Y"), ("data", "target"), ("images", "labels"), ("features", "label"),
     ("anything", "y"), ("arr_0", "arr_1")],
)  # fmt: skip
def test_names_that_people_give(tmp_path, x, y):
    np.savez(tmp_path / "a.npz", **{x: X, y: Y})
    samples = read_samples(tmp_path / "a.npz")
    np.testing.assert_array_equal(samples.x, X)
    assert (samples.class_names, samples.y.tolist()) == (("0", "2"), [1, 0, 1, 0, 1, 0])
    assert samples.kind == "arrays: 6 samples of 2x2, float64, 2 classes"
    assert samples.name == "a.npz"


def test_more_names(tmp_path):
    np.savez(tmp_path / "a.npz", data=X[:, 0], kind=Y // 2, person=Y, feature_names=["a", "b"],
             class_names=["cat", "dog"])  # fmt: skip
    samples = array_samples(tmp_path / "a.npz", target="kind", group="person")
    assert samples.feature_names == ("a", "b")
    assert samples.class_names == ("cat", "dog")
    assert samples.groups.tolist() == Y.tolist()
    none = array_samples(tmp_path / "a.npz", target=False, group="person")
    assert none.y.shape == (6, 0)


def test_texts_and_numbers_as_targets(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=np.array(["u", "v"] * 3))
    assert read_samples(tmp_path / "a.npz").class_names == ("u", "v")
    np.savez(tmp_path / "a.npz", x=X, y=np.linspace(0, 1, 6)[:, None])
    assert read_samples(tmp_path / "a.npz").y.shape == (6,)
    np.savez(tmp_path / "a.npz", x=X, y=np.ones((6, 3)))
    assert read_samples(tmp_path / "a.npz").target == "3 numbers"
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    assert read_samples(tmp_path / "a.npz", classes=False).target == "1 number"


def test_one_array_has_its_target_in_a_column(tmp_path):
    array = np.column_stack([np.linspace(0, 1, 6), Y, np.arange(6) * 0.5])
    np.save(tmp_path / "a.npy", array)
    samples = read_samples(tmp_path / "a.npy")
    assert (samples.x.shape, samples.target) == ((6, 2), "1 number")
    assert samples.kind.startswith("column 3 as target, arrays")
    samples = read_samples(tmp_path / "a.npy", target="2")
    assert samples.class_names == ("0", "2")
    np.testing.assert_allclose(samples.x, array[:, [0, 2]], rtol=1e-6)
    assert read_samples(tmp_path / "a.npy", target=False).x.shape == (6, 3)


@pytest.mark.parametrize(
    "names",
    [("x_train", "y_train", "x_test", "y_test"), ("X_train", "Y_train", "X_test", "Y_test"),
     ("train_images", "train_labels", "test_images", "test_labels"),
     ("train_x", "train_y", "val_x", "val_y"), ("xtrain", "ytrain", "xtest", "ytest")],
)  # fmt: skip
def test_parts(tmp_path, names):
    arrays = dict(zip(names, (X, Y, X[:1] + 1, [2]), strict=True))
    np.savez(tmp_path / "a.npz", **arrays)
    train, test = read_parts(tmp_path / "a.npz")
    assert (len(train), len(test)) == (6, 1)
    assert test.class_names == train.class_names == ("0", "2")
    assert test.y.tolist() == [1]
    assert test.x[0, 0, 0] == 1


def test_a_validation_part_is_no_test_part_if_there_is_one(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y, x_val=X[:2], y_val=Y[:2], x_test=X[:3],
             y_test=Y[:3])  # fmt: skip
    assert len(read_parts(tmp_path / "a.npz")[1]) == 3
