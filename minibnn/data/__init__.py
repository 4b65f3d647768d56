"""Data: tables, arrays, images, IDX files and MNIST; batches and their augmentation."""

from minibnn.data.augment import Cutout, RandomShift
from minibnn.data.dataset import ImageDataset
from minibnn.data.errors import (
    DataError,
    DatasetMismatchError,
    DatasetNotFoundError,
    IdxFormatError,
    SamplesError,
)
from minibnn.data.idx import read_idx, write_idx
from minibnn.data.iterable import IterableLoader
from minibnn.data.labels import one_cold, one_hot
from minibnn.data.loader import DataLoader
from minibnn.data.mnist import load_mnist, load_mnist_or_sample, load_sample
from minibnn.data.named import load_named
from minibnn.data.read import read_parts, read_samples
from minibnn.data.samples import Samples

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
    "Samples",
    "SamplesError",
    "load_mnist",
    "load_mnist_or_sample",
    "load_named",
    "load_sample",
    "one_cold",
    "one_hot",
    "read_idx",
    "read_parts",
    "read_samples",
    "write_idx",
]
