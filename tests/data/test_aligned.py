"""Samples in the form of those that a model was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import DataError
from minibnn.data.aligned import aligned
from minibnn.data.samples import Samples


def of(x, y, **more):
    return Samples.of(np.asarray(x), y, name="new.csv", **more)


def test_values_are_converted_where_the_dtype_has_them():
    samples = of([[1.0, 200.0]], ["b"], feature_names=("u", "v"))
    found = aligned(samples, shape=(2,), dtype="int16", classes=("a", "b"))
    assert (found.x.dtype, found.x.tolist(), found.y.tolist()) == (np.int16, [[1, 200]], [1])
    assert found.class_names == ("a", "b")
    with pytest.raises(
        DataError,
        match="from -128 to 127, as in training, at sample 1, column 'v', got 200",
    ):
        aligned(samples, shape=(2,), dtype="int8", classes=("a", "b"))
    half = of([[1.0], [0.5]], ["b", "b"])
    with pytest.raises(DataError, match=r"at sample 2, got 0\.5"):
        aligned(half, shape=(1,), dtype="uint8", classes=("b",))
    missing = of([[1.0], [np.nan]], ["b", "b"], missing="keep")
    with pytest.raises(DataError, match="at sample 2, got nan"):
        aligned(missing, shape=(1,), dtype="int16", classes=("b",))
    assert np.isnan(aligned(missing, shape=(1,), dtype="float32", classes=("b",)).x[1, 0])


def test_shapes():
    images = of(np.zeros((2, 4, 5, 1), np.uint8), ["a", "b"])
    found = aligned(images, shape=(4, 5), dtype="uint8", classes=("a", "b"))
    assert found.x.shape == (2, 4, 5)
    for shape in ((5, 4), (20,), (4, 5, 3)):
        with pytest.raises(DataError, match="samples of shape"):
            aligned(images, shape=shape, dtype="uint8", classes=("a", "b"))


def test_targets():
    classes, numbers = of([[1.0]], ["a"]), of([[1.0]], [0.5])
    with pytest.raises(DataError, match="numbers to compare with, got classes"):
        aligned(classes, shape=(1,), dtype="float32")
    with pytest.raises(DataError, match="the classes 'a'"):
        aligned(numbers, shape=(1,), dtype="float32", classes=("a",))
    with pytest.raises(DataError, match="a target, got none"):
        aligned(of([[1.0]], None), shape=(1,), dtype="float32")
    assert aligned(numbers, shape=(1,), dtype="float32").y.tolist() == [0.5]
    for samples in (classes, numbers, of([[1.0]], None)):
        found = aligned(samples, shape=(1,), dtype="float32", classes=("z",), labelled=False)
        assert found.x.tolist() == [[1.0]]
