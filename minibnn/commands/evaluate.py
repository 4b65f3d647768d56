"""``python -m minibnn evaluate``: the accuracy of a packed model."""

from __future__ import annotations

import argparse
import time

import numpy as np

from minibnn.backend import Backend, get_backend
from minibnn.commands import shared
from minibnn.packed import PackedModel
from minibnn.packed.stages import HostArray, size_of

DESCRIPTION = """\
Run a packed model on a data set. Print its accuracy, its most frequent confusions, and the images
per second in NumPy or CuPy on this machine."""
EPILOG = """\
examples:
  python -m minibnn evaluate digits.safetensors
  python -m minibnn evaluate digits.safetensors --dataset sample --split train --device cpu"""
PAIRS = 5  # of classes, in the line of confusions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    shared.describe(parser, DESCRIPTION, EPILOG)
    shared.add_file(parser)
    parser.add_argument("--split", default="test", choices=("test", "train"),
                        help="default: %(default)s")  # fmt: skip
    shared.add_data(parser)


def run(given: argparse.Namespace) -> int:
    """Print accuracy, confusions and speed."""
    packed = shared.read_packed(given.file)
    backend = get_backend(given.device)
    data = shared.load_data(given)
    images, labels = data.test_images, data.test_labels
    if given.split == "train":
        images, labels = data.train_images, data.train_labels
    if size_of(packed.input_shape) != images[0].size or packed.input_dtype != "uint8":
        of = "" if packed.input_dtype == "uint8" else f" of {packed.input_dtype}"
        raise ValueError(
            f"{given.file}: expected a model of images of {images.shape[1:]}, got one of "
            f"{packed.input_shape}{of}"
        )
    predicted, speed = _predict(packed, images.reshape(-1, *packed.input_shape), backend)
    wrong = int((predicted != labels).sum())
    print(f"{given.file} on {data.name}, {shared.several(len(images), f'{given.split} image')}")
    print(f"accuracy      {1 - wrong / len(images):.4f}, {wrong:,} wrong")
    if wrong:
        print(f"taken for     {worst_pairs(labels, predicted)}")
    print(f"images/second {speed:,.0f} ({backend.name}, once, after a warm-up)")
    return 0


def _predict(packed: PackedModel, images: HostArray, backend: Backend) -> tuple[HostArray, float]:
    """The labels of all images, and the images per second."""
    there = backend.asarray(images)
    backend.to_host(packed.predict(there[:256]))
    start = time.perf_counter()
    labels = backend.to_host(packed.predict(there))
    return labels, len(images) / (time.perf_counter() - start)


def worst_pairs(labels: HostArray, predicted: HostArray) -> str:
    """The most frequent confusions: ``4 as 9 (12 of 982), 9 as 4 (10 of 1,009)``.

    >>> worst_pairs(np.array([4, 4, 4, 9, 1]), np.array([9, 9, 4, 4, 1]))
    '4 as 9 (2 of 3), 9 as 4 (1 of 1)'
    """
    wrong = predicted != labels
    pairs = np.stack([labels[wrong], predicted[wrong]])
    kinds, counts = np.unique(pairs.astype(np.int64), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:PAIRS]
    return ", ".join(
        f"{true} as {taken} ({count:,} of {int((labels == true).sum()):,})"
        for (true, taken), count in zip(kinds.T[order].tolist(), counts[order], strict=True)
    )
