"""IDX sets in the spellings that are in use."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.data import DatasetNotFoundError, read_parts, read_samples, write_idx
from minibnn.data.idx_sets import idx_folder, idx_parts, idx_samples

RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.integers(0, 256, (n, 4, 4), np.uint8) for n in (6, 3))
TRAIN_LABELS, TEST_LABELS = np.array([5, 1, 2, 1, 2, 5], np.uint8), np.array([2, 2, 5], np.uint8)
SPELLINGS = [
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
    ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte",
     "emnist-letters-test-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte"),
    ("train_images.idx", "train_labels.idx", "test_images.idx", "test_labels.idx"),
    ("x_train.idx", "y_train.idx", "x_val.idx", "y_val.idx"),
    ("Train-Images-ubyte", "Train-Labels-ubyte", "Test-Images-ubyte", "Test-Labels-ubyte"),
]  # fmt: skip


def fill(folder, names, ending=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, (TRAIN, TRAIN_LABELS, TEST, TEST_LABELS), strict=True):
        write_idx(folder / f"{name}{ending}", array)
    return folder


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("names", SPELLINGS)
def test_spellings(tmp_path, names, ending):
    fill(tmp_path / "set", names, ending)
    train, test = read_parts(tmp_path / "set")
    np.testing.assert_array_equal(train.x, TRAIN)
    np.testing.assert_array_equal(test.x, TEST)
    assert train.class_names == test.class_names == ("1", "2", "5")
    assert (train.y.tolist(), test.y.tolist()) == ([2, 0, 1, 0, 1, 2], [1, 1, 2])
    one = read_samples(tmp_path / "set" / f"{names[2]}{ending}")
    assert one.class_names == ("2", "5")
    assert one.kind == f"an IDX file: 3 samples of 4x4, uint8, labels from '{names[3]}{ending}'"


@pytest.mark.parametrize("inside", ["raw", "FashionMNIST/raw"])
def test_folders_of_other_loaders(tmp_path, inside):
    fill(tmp_path / inside, SPELLINGS[0])
    assert len(read_parts(tmp_path)[0]) == 6


def test_one_part_in_a_folder(tmp_path):
    write_idx(tmp_path / "images.idx", TRAIN)
    write_idx(tmp_path / "labels.idx", TRAIN_LABELS)
    assert len(read_samples(tmp_path)) == 6
    (only,) = idx_parts(str(tmp_path), parts=1)
    assert len(only) == 6


def test_labels_named_and_none(tmp_path):
    write_idx(tmp_path / "pixels", TRAIN.astype(np.int32))
    write_idx(tmp_path / "what", TRAIN_LABELS)
    samples = read_samples(tmp_path / "pixels", target=str(tmp_path / "what"))
    assert samples.x.dtype == np.uint8
    assert samples.target == "3 classes"
    assert idx_samples(tmp_path / "pixels", target=False).target == "no target"
    numbers = idx_samples(tmp_path / "pixels", target=str(tmp_path / "what"), classes=False)
    assert numbers.target == "1 number"
    with pytest.raises(DatasetNotFoundError, match="a file of labels beside it"):
        read_samples(tmp_path / "pixels")


def test_other_folders_have_no_idx_files(tmp_path):
    for name in ("images.png", "labels.csv", "notes-ubyte.txt"):
        (tmp_path / name).write_text("x")
    assert not idx_folder(str(tmp_path))
    write_idx(tmp_path / "images.idx", TRAIN)
    assert idx_folder(str(tmp_path))


def test_gzipped_files_come_first_as_for_mnist(tmp_path):
    fill(tmp_path, SPELLINGS[0])
    fill(tmp_path, SPELLINGS[0], ".gz")
    write_idx(tmp_path / "train-images-idx3-ubyte", TRAIN[::-1])
    np.testing.assert_array_equal(read_parts(tmp_path)[0].x, TRAIN)
