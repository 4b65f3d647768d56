"""The images on which exported models test themselves."""

from __future__ import annotations

import numpy as np
import pytest
from fuzz_packed_costs import Program, end

from minibnn import load_packed
from minibnn.data import load_sample
from minibnn.export.vectors import example_images, vectors_of


def test_large_images_are_tested_with_fewer(tmp_path):
    path = tmp_path / "large.safetensors"
    for shape, n in (((2**11, 2**11), 1), ((2**10, 2**10), 4), ((600, 601), 11), ((590, 591), 12)):
        program = Program(*shape, 1).conv(1, (1, 1), (512, 512)).sign()
        path.write_bytes(end(program).file())
        vectors = vectors_of(load_packed(path))
        assert len(vectors.images) == len(vectors.scores) == n
        assert vectors.images[0].std() > 0  # noise first


@pytest.mark.parametrize("shape", [(28, 28), (784,), (28, 28, 1)])
def test_digits_and_extremes_are_the_examples(shape):
    images = example_images(shape)
    sample = load_sample()
    labels = [
        sample.test_labels[(sample.test_images == image.reshape(28, 28)).all((1, 2)).argmax()]
        for image in images[:10]
    ]
    assert labels == list(range(10))
    assert (images[10] == 0).all()
    assert (images[11] == 255).all()
    assert images.shape == (12, *shape)
    np.testing.assert_array_equal(example_images(shape, 3), images[:3])
