"""ImageDataset: its validation split, its checks, and its repr."""

import numpy as np
import pytest

from minibnn.data import DatasetMismatchError, ImageDataset


def numbered(count):
    """Return a data set whose images carry their own index."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(count)
    return ImageDataset("numbered", images, images[:, 0, 0] % 10, images[:0], images[:0, 0, 0])


def test_validation_split_parts_the_training_images():
    data = numbered(100)
    data = ImageDataset(
        "numbered", data.train_images, data.train_labels, data.train_images[:3] + 200, np.zeros(3)
    )
    split = data.validation_split(30, np.random.default_rng(1))
    train, held_out = split.train_images[:, 0, 0], split.test_images[:, 0, 0]
    assert len(train) == 70
    assert len(held_out) == 30
    assert sorted([*train, *held_out]) == list(range(100))  # so no true test image (200 and up)
    np.testing.assert_array_equal(split.train_labels, train % 10)
    np.testing.assert_array_equal(split.test_labels, held_out % 10)
    assert held_out.tolist() != list(range(30))
    assert "validation split" in split.name
    assert len(data.train_images) == 100


def test_validation_split_follows_its_generator():
    data = numbered(100)
    first, again, other = (
        data.validation_split(10, np.random.default_rng(seed)).test_images for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("count", [0, -1, 100, 101])
def test_validation_split_leaves_no_part_empty(count):
    with pytest.raises(ValueError, match=f"from 1 to 99 of 100 training images, got {count}"):
        numbered(100).validation_split(count, np.random.default_rng(0))


def test_validation_split_wants_a_generator():
    with pytest.raises(TypeError, match=r"got int; pass numpy.random.default_rng\(seed\)"):
        numbered(10).validation_split(3, 0)


def test_dataset_is_checked_and_short_to_print():
    data = numbered(10)
    assert repr(data) == "ImageDataset('numbered', 10 training and 0 test images of 28x28)"
    with pytest.raises(DatasetMismatchError, match=r"broken, test part.* 4 images and 3 labels"):
        ImageDataset("broken", data.train_images, data.train_labels, data.train_images[:4], [1] * 3)
