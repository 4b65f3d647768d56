"""Data: IDX files, MNIST, batches and their augmentation."""

from minibnn.data.augment import Cutout, RandomShift
from minibnn.data.dataset import ImageDataset
from minibnn.data.errors import (
    DataError,
    DatasetMismatchError,
    DatasetNotFoundError,
    IdxFormatError,
)
from minibnn.data.idx import read_idx, write_idx
from minibnn.data.iterable import IterableLoader
from minibnn.data.labels import one_cold, one_hot
from minibnn.data.loader import DataLoader
from minibnn.data.mnist import load_mnist, load_mnist_or_sample, load_sample

__all__ = [
    "Cutout",
    "DataError",
    "DataLoader",
    "DatasetMismatchError",
    "DatasetNotFoundError",
    "IdxFormatError",
    "ImageDataset",
    "IterableLoader",
    "RandomShift",
    "load_mnist",
    "load_mnist_or_sample",
    "load_sample",
    "one_cold",
    "one_hot",
    "read_idx",
    "write_idx",
]
