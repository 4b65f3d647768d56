"""tools/make_sample.py: the split of the digits, and inputs that it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from make_sample import read_digits, split


def test_each_class_is_split_and_no_digit_is_in_both_parts():
    images = np.arange(5000, dtype=np.uint32).view(np.uint8).reshape(5000, 2, 2)
    labels = np.repeat(np.arange(10, dtype=np.uint8), 500)
    parts = split(images, labels)
    for part, count in (("train", 400), ("t10k", 100)):
        digits, found = (
            parts[f"{part}-{end}"] for end in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
        np.testing.assert_array_equal(np.bincount(found), count)
        numbers = digits.reshape(-1).view(np.uint32)
        np.testing.assert_array_equal(labels[numbers], found)
    both = [parts[f"{part}-images-idx3-ubyte"].tobytes() for part in ("train", "t10k")]
    assert np.unique(np.frombuffer(b"".join(both), np.uint32)).size == 5000


def test_another_input_is_refused(tmp_path):
    (tmp_path / "digits.csv.gz").write_bytes(b"others")
    with pytest.raises(SystemExit, match=r"expected mnist_5k.csv.gz with sha256 846f6c\w+, got "):
        read_digits(tmp_path / "digits.csv.gz")
