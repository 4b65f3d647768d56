"""A few images of the bundled sample."""

from __future__ import annotations

from dataclasses import replace

from minibnn import ImageDataset, load_sample


def few_images(train: int, test: int | None = None) -> ImageDataset:
    """The sample with its first images only; all test images if `test` is None."""
    data = load_sample()
    return replace(
        data,
        train_images=data.train_images[:train],
        train_labels=data.train_labels[:train],
        test_images=data.test_images[:test],
        test_labels=data.test_labels[:test],
    )
