"""Samples with their expected scores, which exported models carry to test themselves."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.data import load_sample
from minibnn.packed.costs import total
from minibnn.packed.description import interval_end
from minibnn.packed.inference import labels_of
from minibnn.packed.model import PackedModel
from minibnn.packed.stages import CodeStage, HostArray, size_of

PIXELS, OPERATIONS = 2**22, 2**31  # of all images together
CODED_BYTES = 2**14  # of coded samples together, but at least twelve of them
DIGITS = ((28, 28), (784,), (28, 28, 1))  # shapes of the bundled test images


@dataclass(frozen=True)
class TestVectors:
    """Samples and the packed model's answers.

    Attributes:
        images: (n, *input_shape) of the model's `input_dtype`.
        scores: (n, classes) of int64.
        labels: (n,) of int64.
    """

    __test__ = False  # pytest: this is no test

    images: HostArray
    scores: HostArray
    labels: HostArray


def vectors_of(packed: PackedModel, images: HostArray | None = None) -> TestVectors:
    """The answers to these samples, or to `example_inputs`; fewer for large models."""
    if images is None:
        most = min(PIXELS // size_of(packed.input_shape), OPERATIONS // total(packed.stages)[1])
        images = example_inputs(packed, max(1, most))
    scores = packed.predict_scores(images)
    return TestVectors(images, scores, labels_of(scores))


def example_inputs(packed: PackedModel, most: int = 64) -> HostArray:
    """Samples of the model's shape and dtype, the same ones every time, at most so many.

    They are `example_images`, unless the model's input is coded. Then they are digits, if the model
    takes such images, and `around_thresholds`.
    """
    code, shape = packed.stages[0], packed.input_shape
    if not isinstance(code, CodeStage):
        return example_images(shape, min(12, most))
    samples = around_thresholds(code).reshape(-1, *shape)
    if packed.input_dtype == "uint8" and shape in DIGITS:
        samples = np.concatenate([example_images(shape, 10), samples])
    return samples[:most]


def around_thresholds(code: CodeStage) -> HostArray:
    """Samples (n, *code.in_shape) in which comparisons turn over.

    In the first one, each feature has the middle one of its thresholds. In the next ones, it goes
    through its thresholds, the numbers just below and just above each, and the numbers that are
    special in its dtype, in an order of its own. In the last ones all values are the least, all are
    the greatest and, for floats, all are nan.
    """
    dtype = np.dtype(code.dtype)
    special = _special(dtype)
    ends = special[: 3 if dtype.kind == "f" else 2]
    features = code.in_shape[-1]
    positions = size_of(code.in_shape[:-1])
    values = [_near(thresholds, special) for thresholds in _thresholds(code)]
    most = max(map(len, values)) + 1 + len(ends)
    n = max(12, min(most, CODED_BYTES // (positions * features * dtype.itemsize)))
    walks = n - 1 - len(ends)
    samples = np.empty((n, positions, features), dtype)
    starts = _noise(b"starts", positions * features).reshape(positions, features)
    for f, thresholds in enumerate(_thresholds(code)):
        samples[0, :, f] = thresholds[len(thresholds) // 2] if len(thresholds) else 0
        order = np.argsort(_noise(b"%d" % f, len(values[f])), kind="stable")
        at = (starts[:, f] + np.arange(walks)[:, None]) % len(order)
        samples[1 : 1 + walks, :, f] = values[f][order[at]]
    samples[1 + walks :] = ends[:, None, None]
    return samples.reshape(n, *code.in_shape)


def _thresholds(code: CodeStage) -> list[HostArray]:
    """The different numbers at which each feature's comparisons turn over, rising."""
    least, most = (interval_end(code.low.dtype, name) for name in ("low", "high"))
    some = code.low <= code.high  # else the bit is always 0
    starts, stops = some & (code.low > least), some & (code.high < most)
    feature = np.concatenate([code.feature[starts], code.feature[stops]])
    numbers = np.concatenate([code.low[starts], code.high[stops]])
    order = np.argsort(feature, kind="stable")
    bounds = np.searchsorted(feature[order], np.arange(code.in_shape[-1] + 1))
    return [np.unique(numbers[order[a:b]]) for a, b in itertools.pairwise(bounds)]


def _near(thresholds: HostArray, special: HostArray) -> HostArray:
    """Thresholds, their two neighbours among the numbers of the dtype, and special numbers."""
    if thresholds.dtype.kind == "f":
        below, above = (np.nextafter(thresholds, end) for end in special[:2])
    else:
        below, above = thresholds - 1, thresholds + 1  # beyond an end comes the other
    near = np.setdiff1d(np.concatenate([below, thresholds, above]), special)
    return np.concatenate([near, special])


def _special(dtype: np.dtype[Any]) -> HostArray:
    """The least and the greatest number first; for floats then nan, and others."""
    if dtype.kind != "f":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        return np.array([least, most, 0] if least else [least, most], dtype)
    most, tiny = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    return np.array([-np.inf, np.inf, np.nan, -most, most, -tiny, tiny, -0.0, 0.0], dtype)


def _noise(name: bytes, n: int) -> HostArray:
    """So many numbers of uint32, which depend on the name only."""
    digest = hashlib.shake_256(b"minibnn test vectors, " + name).digest(4 * n)
    return np.frombuffer(digest, "<u4").astype(np.uint32)


def example_images(input_shape: tuple[int, ...], most: int = 12) -> HostArray:
    """Twelve images: one of each digit, all pixels 0, and all 255; the same ones every time.

    Each digit is the first of its class among the bundled test images. For shapes other than
    28 by 28, the first ten are noise. If `most` is less than twelve, only the first `most` are
    made.
    """
    size = size_of(input_shape)
    if input_shape in DIGITS:
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
