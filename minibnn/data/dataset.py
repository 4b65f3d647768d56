"""A labelled image data set in memory: four arrays and a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.backend import require_plain
from minibnn.checks import integer
from minibnn.data.errors import DatasetMismatchError

__all__ = ["ImageDataset"]


@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset:
    """Training and test images with their labels, as in the files: bytes, not scaled.

    Shapes:
        train_images (N, ...), train_labels (N,); test_images (M, ...), test_labels (M,). MNIST has
        (N, 28, 28) of uint8, 0 for background and 255 for ink, with labels of uint8.

    Raises:
        DatasetMismatchError: the numbers of images and labels in a part differ.
        TypeError: a part is not an array of samples.

    >>> images, labels = np.zeros((5, 28, 28), np.uint8), np.arange(5, dtype=np.uint8)
    >>> ImageDataset("blank", images, labels, images[:2], labels[:2])
    ImageDataset('blank', 5 training and 2 test images of 28x28)
    """

    name: str
    train_images: np.ndarray[Any, np.dtype[np.uint8]]
    train_labels: np.ndarray[Any, np.dtype[np.uint8]]
    test_images: np.ndarray[Any, np.dtype[np.uint8]]
    test_labels: np.ndarray[Any, np.dtype[np.uint8]]

    def __post_init__(self) -> None:
        check_counts(f"{self.name}, training part", self.train_images, self.train_labels)
        check_counts(f"{self.name}, test part", self.test_images, self.test_labels)

    def __repr__(self) -> str:
        images = np.asarray(self.train_images)
        sizes = images.shape[1:] or (1,)
        what = "images" if len(sizes) > 1 else "rows"
        counts = f"{len(images)} training and {len(self.test_images)} test {what}"
        kind = "" if images.dtype == np.uint8 else f", {images.dtype}"
        return f"ImageDataset({self.name!r}, {counts} of {'x'.join(map(str, sizes))}{kind})"

    def validation_split(self, count: int, rng: np.random.Generator) -> ImageDataset:
        """Return a data set for choosing a model: `count` training images become its test part.

        It does not contain the true test images, so they cannot influence the choice. Both parts
        keep the order of the training set.

        Args:
            count: how many training images to hold out, from 1 to N - 1.
            rng: chooses these images.

        Shapes:
            train_images (N - count, ...), test_images (count, ...), labels to match.

        Raises:
            TypeError: `rng` is not a `numpy.random.Generator`.
            ValueError: `count` leaves one of the two parts empty.

        >>> images, labels = np.zeros((5, 28, 28), np.uint8), np.arange(5, dtype=np.uint8)
        >>> blank = ImageDataset("blank", images, labels, images[:0], labels[:0])
        >>> blank.validation_split(2, np.random.default_rng(0))
        ImageDataset('blank (validation split)', 3 training and 2 test images of 28x28)
        """
        total = len(self.train_images)
        if not isinstance(rng, np.random.Generator):
            raise TypeError(
                "validation_split: expected rng to be a numpy.random.Generator, "
                f"got {type(rng).__name__}; pass numpy.random.default_rng(seed)"
            )
        count = integer("validation_split", "count", count)
        if not 0 < count < total:
            raise ValueError(
                f"validation_split: expected count from 1 to {total - 1} "
                f"of {total} training images, got {count}"
            )
        held_out = np.zeros(total, dtype=bool)
        held_out[rng.choice(total, size=count, replace=False)] = True
        return ImageDataset(
            f"{self.name} (validation split)",
            self.train_images[~held_out],
            self.train_labels[~held_out],
            self.train_images[held_out],
            self.train_labels[held_out],
        )


def check_counts(who: str, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
    """Raise DatasetMismatchError unless there is one label for each image."""
    for name, array in (("images", images), ("labels", labels)):
        require_plain(array)
        if not np.ndim(array):
            raise TypeError(f"{who}: expected an array of {name}, got {type(array).__name__}")
    if len(images) != len(labels):
        raise DatasetMismatchError(
            f"{who}: expected one label for each image, got {len(images)} images "
            f"and {len(labels)} labels; do the two files belong together?"
        )
