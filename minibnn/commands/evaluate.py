"""``python -m minibnn evaluate``: the accuracy of a packed model."""

from __future__ import annotations

import argparse
import time

from minibnn.backend import Backend, get_backend
from minibnn.commands import evaluate_own, shared
from minibnn.commands.confusions import worst_pairs
from minibnn.data.options import (
    add_data,
    add_reading,
    data_of,
    require_no_mnist_options,
    require_no_reading,
)
from minibnn.packed import PackedModel
from minibnn.packed.stages import HostArray, size_of

DESCRIPTION = """\
Run a packed model on a data set, your own or MNIST. Print its accuracy (of numbers, R2 and the mean
absolute error), its most frequent confusions, and the samples per second in NumPy or CuPy on this
machine."""
EPILOG = """\
examples:
  python -m minibnn evaluate sensor.safetensors sensor.csv
  python -m minibnn evaluate sensor.safetensors another_week.csv
  python -m minibnn evaluate digits.safetensors
  python -m minibnn evaluate digits.safetensors --dataset sample --split train --device cpu"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    shared.describe(parser, DESCRIPTION, EPILOG)
    shared.add_file(parser)
    add_data(parser, "your own data, as in train; default: MNIST")
    parser.add_argument("--split", choices=("test", "train", "all"),
                        help="default: test; of data that it was not trained on, all")  # fmt: skip
    shared.add_data(parser)
    add_reading(parser)


def run(given: argparse.Namespace) -> int:
    """Print accuracy, confusions and speed."""
    packed = shared.read_packed(given.file)
    if (path := data_of(given)) is not None:
        require_no_mnist_options(given)
        return evaluate_own.run(packed, path, given)
    require_no_reading(given)
    shared.require_mnist(given.file, packed, "evaluate")
    if given.split == "all":
        raise ValueError("--split: expected test or train of MNIST, got all; choose one")
    backend = get_backend(given.device)
    data = shared.load_data(given)
    split = given.split or "test"
    images, labels = data.test_images, data.test_labels
    if split == "train":
        images, labels = data.train_images, data.train_labels
    if size_of(packed.input_shape) != images[0].size or packed.input_dtype != "uint8":
        of = "" if packed.input_dtype == "uint8" else f" of {packed.input_dtype}"
        raise ValueError(
            f"{given.file}: expected a model of images of {images.shape[1:]}, got one of "
            f"{packed.input_shape}{of}"
        )
    predicted, speed = _predict(packed, images.reshape(-1, *packed.input_shape), backend)
    wrong = int((predicted != labels).sum())
    print(f"{given.file} on {data.name}, {shared.several(len(images), f'{split} image')}")
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
