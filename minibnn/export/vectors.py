"""Test images with their expected scores, which exported models carry to test themselves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from minibnn.data import load_sample
from minibnn.packed.costs import total
from minibnn.packed.inference import labels_of
from minibnn.packed.model import PackedModel
from minibnn.packed.stages import HostArray, size_of

PIXELS, OPERATIONS = 2**22, 2**31  # of all images together


@dataclass(frozen=True)
class TestVectors:
    """Images and the packed model's answers.

    Attributes:
        images: (n, *input_shape) of uint8.
        scores: (n, classes) of int64.
        labels: (n,) of int64.
    """

    __test__ = False  # pytest: this is no test

    images: HostArray
    scores: HostArray
    labels: HostArray


def vectors_of(packed: PackedModel, images: HostArray | None = None) -> TestVectors:
    """The answers to these images, or to `example_images`; fewer for large models."""
    if images is None:
        most = min(PIXELS // size_of(packed.input_shape), OPERATIONS // total(packed.stages)[1])
        images = example_images(packed.input_shape, max(1, most))
    scores = packed.predict_scores(images)
    return TestVectors(images, scores, labels_of(scores))


def example_images(input_shape: tuple[int, ...], most: int = 12) -> HostArray:
    """Twelve images: one of each digit, all pixels 0, and all 255; the same ones every time.

    Each digit is the first of its class among the bundled test images. For shapes other than
    28 by 28, the first ten are noise. If `most` is less than twelve, only the first `most` are
    made.
    """
    size = size_of(input_shape)
    if input_shape in ((28, 28), (784,), (28, 28, 1)):
        sample = load_sample()
        firsts = [int(np.argmax(sample.test_labels == digit)) for digit in range(10)]
        images = sample.test_images[firsts].reshape(10, size)
    else:
        noise = hashlib.shake_256(b"minibnn test vectors").digest(min(10, most) * size)
        images = np.frombuffer(noise, np.uint8).reshape(-1, size)
    if most > len(images):
        extremes = np.repeat(np.array([[0], [255]], np.uint8), size, axis=1)
        images = np.concatenate([images, extremes])
    return images[:most].reshape(-1, *input_shape)
