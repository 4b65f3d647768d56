"""Small files in the formats of the data sets that have names, and their digests."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile

import numpy as np

from minibnn.data import named
from minibnn.data.idx import idx_header

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (n, 28, 28), np.uint8) for n in (7, 3)]
LABELS = [np.array([0, 1, 2, 3, 4, 5, 9], np.uint8), np.array([9, 0, 1], np.uint8)]
COLOURS = [RNG.integers(0, 256, (n, 3, 32, 32), np.uint8) for n in (10, 2)]
CATS = [np.arange(10, dtype=np.uint8), np.array([9, 3], np.uint8)]


def gz(array):
    return gzip.compress(
        idx_header(array) + array.astype(array.dtype.newbyteorder(">")).tobytes(), mtime=0
    )


def files_of(name):
    """The bytes of each published file of a data set, in small."""
    if name.startswith("emnist"):
        first = 1 if name == "emnist-letters" else 0
        return {"gzip.zip": archive(name, first)}
    if name == "cifar-10":
        return {"cifar-10-binary.tar.gz": tar()}
    parts = []
    for images, labels in zip(IMAGES, LABELS, strict=True):
        if name == "qmnist":  # the digit, and where it is from
            labels = np.column_stack([labels, *[labels + 100] * 7]).astype(np.int32)
        parts += [gz(images), gz(labels)]
    return dict(zip(named._SETS[name].files, parts, strict=True))


def archive(name, first):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for part, images, labels in zip(("train", "test"), IMAGES, LABELS, strict=True):
            pixels, classes = gz(images.transpose(0, 2, 1)), gz(labels + np.uint8(first))
            made.writestr(zipfile.ZipInfo(f"gzip/{name}-{part}-images-idx3-ubyte.gz"), pixels)
            made.writestr(zipfile.ZipInfo(f"gzip/{name}-{part}-labels-idx1-ubyte.gz"), classes)
        made.writestr(zipfile.ZipInfo("gzip/emnist-other-mapping.txt"), "0 48\n")
    return file.getvalue()


def tar(leave_out="", cut=0):
    file = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", 1, file, 0) as packed,
        tarfile.open(fileobj=packed, mode="w") as made,
    ):
        for i in range(6):
            name = f"data_batch_{i + 1}.bin" if i < 5 else "test_batch.bin"
            where = slice(2 * i, 2 * i + 2) if i < 5 else slice(None)
            pixels, labels = COLOURS[i == 5][where], CATS[i == 5][where]
            rows = np.column_stack([labels, pixels.reshape(2, -1)]).astype(np.uint8).tobytes()
            rows = rows[: len(rows) - cut]
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(rows)
            if name != leave_out:
                made.addfile(info, io.BytesIO(rows))
        info = tarfile.TarInfo("cifar-10-batches-bin/readme.html")
        info.size = 5
        made.addfile(info, io.BytesIO(b"hello"))
    return file.getvalue()


def digests(files):
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
