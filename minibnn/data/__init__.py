"""Data: IDX files, MNIST and batches."""

from minibnn.data.dataset import ImageDataset
from minibnn.data.errors import (
    DataError,
    DatasetMismatchError,
    DatasetNotFoundError,
    IdxFormatError,
)
from minibnn.data.idx import read_idx, write_idx
from minibnn.data.mnist import load_mnist, load_sample

__all__ = [
    "DataError",
    "DatasetMismatchError",
    "DatasetNotFoundError",
    "IdxFormatError",
    "ImageDataset",
    "load_mnist",
    "load_sample",
    "read_idx",
    "write_idx",
]
