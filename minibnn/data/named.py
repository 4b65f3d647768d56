"""Data sets by name: downloaded once, compared with published digests, and read.

The digests and the addresses are as other loaders publish them (torchvision, TensorFlow Datasets).
None of these files was at hand when this was written: the formats were tested with small files of
the same kind. So a mismatch may also mean that a publisher has replaced a file.

.. code-block:: text

    mnist            digits, 28x28, 10 classes
    fashion-mnist    clothing, 28x28, 10 classes                                arXiv:1708.07747
    kmnist           characters of old Japanese, 28x28, 10 classes              arXiv:1812.01718
    qmnist           MNIST's digits with 60,000 for testing                     arXiv:1905.10498
    emnist-letters, -balanced, -byclass, -bymerge, -digits, -mnist              arXiv:1702.05373
    cifar-10         photographs, 32x32x3, 10 classes                           Krizhevsky 2009
"""

from __future__ import annotations

import gzip
import io
import os
import string
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from minibnn.data import download
from minibnn.data.errors import DataError, DatasetMismatchError, DatasetNotFoundError, SamplesError
from minibnn.data.files import open_source
from minibnn.data.idx import read_idx_stream
from minibnn.data.mnist import load_mnist
from minibnn.data.samples import Samples

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NAMED", "load_named"]

_Any = np.ndarray[Any, Any]
_DIGITS = tuple(string.digits)
# Small letters that look like their capitals count as these in two of EMNIST's sets.
_MERGED = (*string.digits, *string.ascii_uppercase, *"abdefghnqrt")
_EMNIST = {
    "letters": tuple(string.ascii_uppercase),
    "balanced": _MERGED,
    "bymerge": _MERGED,
    "byclass": (*string.digits, *string.ascii_uppercase, *string.ascii_lowercase),
    "digits": _DIGITS,
    "mnist": _DIGITS,
}
_RECORD = 1 + 3 * 32 * 32  # of CIFAR-10: a label and three planes
_MOST_IMAGES, _MOST_LABELS = 60_000 * 28 * 28, 60_000 * 8 * 4
_ZIP, _TAR = "gzip.zip", "cifar-10-binary.tar.gz"
_BATCHES = [f"data_batch_{i}.bin" for i in range(1, 6)]
_AGAIN = "the file is damaged, fetch it again"


@dataclass(frozen=True)
class _Set:
    """What is known of a data set.

    Attributes:
        title: its name in messages.
        mirrors: addresses of its files.
        files: the SHA-256 of each, as it is downloaded.
        classes: the names of its classes.
        cache: the folder in the cache.
        inside: the folder in which torchvision has them.
        most: the largest size of a file, unpacked if it holds one array, in bytes.
    """

    title: str
    mirrors: tuple[str, ...]
    files: Mapping[str, str]
    classes: tuple[str, ...]
    cache: str
    inside: str
    most: int = _MOST_IMAGES


def _four(
    *digests: str, parts: tuple[str, str] = ("train", "t10k"), labels: str = "idx1-ubyte"
) -> dict[str, str]:
    """The digests of the four files of an IDX set, by their names."""
    kinds = ("images-idx3-ubyte", f"labels-{labels}")
    names = [f"{part}-{kind}.gz" for part in parts for kind in kinds]
    return dict(zip(names, digests, strict=True))


_SETS = {
    "fashion-mnist": _Set(
        "Fashion-MNIST",
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
        _four(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
         "Ankle boot"),
        "fashion-mnist", "FashionMNIST",
    ),
    "kmnist": _Set(
        "KMNIST",
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        _four(
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        "kmnist", "KMNIST",
    ),
    "qmnist": _Set(
        "QMNIST",
        ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
        _four(
            "9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d",
            "2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f",
            "43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375",
            "9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06",
            parts=("qmnist-train", "qmnist-test"), labels="idx2-int",
        ),
        _DIGITS, "qmnist", "QMNIST",
    ),
    **{
        f"emnist-{split}": _Set(
            f"EMNIST {split}",
            (
                "https://biometrics.nist.gov/cs_links/EMNIST/",
                "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/",
            ),
            {_ZIP: "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"},
            classes, "emnist", "EMNIST", 2**30,
        )
        for split, classes in _EMNIST.items()
    },
    "cifar-10": _Set(
        "CIFAR-10",
        ("https://www.cs.toronto.edu/~kriz/",),
        {_TAR: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        "cifar-10", ".", 2**28,
    ),
}  # fmt: skip
NAMED = ("mnist", *_SETS)


def load_named(
    name: str, data_dir: str | os.PathLike[str] | None = None, *, verify: bool = True
) -> tuple[Samples, Samples]:
    """Load the training and the test part of a data set by its name; see above for the names.

    Files are downloaded into the user's cache folder once, or read from a folder of yours, which is
    never changed. EMNIST is one archive of 562 MB for all of its sets, and is received in memory.

    EMNIST's images are stored transposed, and its letters are numbered from 1: both are corrected.
    QMNIST's labels have eight columns, of which the first is the digit. CIFAR-10 is read from the
    binary archive, which needs no pickle.

    Args:
        name: such as ``"fashion-mnist"``; one of `NAMED`.
        data_dir: a folder with the files as they are published.
        verify: whether to compare them with the digests; False also takes unpacked files. Downloads
            are always verified.

    Shapes:
        x (n, 28, 28) uint8, of CIFAR-10 (n, 32, 32, 3); y (n,).

    Raises:
        ValueError: there is no data set of that name.
        DatasetNotFoundError: a file is missing and could not be downloaded.
        DatasetMismatchError: a file is not the published one.
        DataError: a file is damaged.
    """
    if name == "mnist":
        data = load_mnist(data_dir, verify=verify)
        parts = [data.train_images, data.train_labels, data.test_images, data.test_labels]
        return _samples("mnist", "MNIST", parts, _DIGITS)
    if name not in _SETS:
        import difflib

        close = difflib.get_close_matches(name, NAMED, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "name a file or a folder for your own"
        raise ValueError(f"load_named: expected one of {', '.join(NAMED)}, got {name!r}; {hint}")
    known = _SETS[name]
    contents: list[_Any] = []
    folder = None if data_dir is None else os.path.expanduser(data_dir)
    for file in known.files:
        if folder is None:
            contents += _from_cache(name, file)
        else:
            contents += _from_folder(name, file, folder, verify)
    return _samples(name, known.title, contents, known.classes)


def _samples(
    name: str, title: str, parts: Sequence[_Any], classes: tuple[str, ...]
) -> tuple[Samples, Samples]:
    made = []
    for x, y, part in ((parts[0], parts[1], "training"), (parts[2], parts[3], "test")):
        who, kind = f"{title}, {part} part", f"{title}: {len(x)} images"
        x, y = _images(name, x), _labels(name, y)
        made.append(Samples.of(x, y, name=who, class_names=classes, kind=kind))
    return made[0], made[1]


def _images(name: str, x: _Any) -> _Any:
    if name.startswith("emnist"):
        return x.transpose(0, 2, 1)
    return x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) if name == "cifar-10" else x


def _labels(name: str, y: _Any) -> _Any:
    if name == "qmnist":
        y = y if y.ndim == 1 else y[:, 0]
    return y.astype(np.int64) - (name == "emnist-letters")


def _from_cache(name: str, file: str) -> list[_Any]:
    """What a published file holds, from the cache, or downloaded into it."""
    known = _SETS[name]
    try:
        folder = download.cache_folder().parent / known.cache
    except ModuleNotFoundError as error:
        raise DatasetNotFoundError(
            f"{known.title}: expected the package {error.name}, which says where the user's cache "
            "is, got none; install it, or name a folder with the files (data_dir)"
        ) from error
    path = folder / file
    if path.is_file():
        try:
            return _read(name, file, path, verify=True)
        except DataError as error:
            message = f"cached file is not usable and will be downloaded again: {error}"
            warnings.warn(message, stacklevel=3)
    if download.is_offline():
        reasons = dict.fromkeys(known.mirrors, "not tried: MINIBNN_OFFLINE is set")
        raise _not_found(known, file, folder, reasons)

    def read(stream: BinaryIO, size: int) -> list[_Any]:
        _verify(known, file, file, stream)
        return _parse(name, file, file, stream, size)

    most = known.most + known.most // 1000 + 1000
    try:
        return download.fetch(file, folder, list(known.mirrors), read, most)
    except download.MirrorsFailedError as error:
        raise _not_found(known, file, folder, error.reasons) from None
    except OSError as error:
        reason = f"not stored: the folder cannot be written: {error}"
        raise _not_found(known, file, folder, dict.fromkeys(known.mirrors, reason)) from error


def _from_folder(name: str, file: str, folder: str, verify: bool) -> list[_Any]:
    """What a published file holds, from a user's folder: also unpacked, if nothing is verified."""
    from pathlib import Path

    known = _SETS[name]
    places = [Path(folder, *part) for part in ((), ("raw",), (known.inside, "raw"))]
    for place in places:
        if (place / file).is_file():
            return _read(name, file, place / file, verify=verify)
    plain = [] if file in (_ZIP, _TAR) else [p / file.removesuffix(".gz") for p in places]
    found = next(filter(os.path.isfile, plain), None)
    if found is not None:
        if verify:
            raise DatasetMismatchError(
                f"{found}: expected {file}, whose digest is known, got an unpacked file; call "
                f'load_named("{name}", data_dir, verify=False)'
            )
        return _read(name, file, found, verify=False)
    reason = "not tried: data_dir names this folder; only minibnn's own cache is filled"
    raise _not_found(known, file, Path(folder), dict.fromkeys(known.mirrors, reason))


def _read(name: str, file: str, path: Path, *, verify: bool) -> list[_Any]:
    with open_source(path) as (stream, size):
        if verify:
            _verify(_SETS[name], file, str(path), stream)
        return _parse(name, file, str(path), stream, size)


def _verify(known: _Set, file: str, path: str, stream: BinaryIO) -> None:
    import hashlib

    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    stream.seek(0)
    if digest.hexdigest() != known.files[file]:
        raise DatasetMismatchError(
            f"{path}: expected {known.title}'s own file (sha256 {known.files[file]}), got sha256 "
            f"{digest.hexdigest()}; fetch the file again, or pass verify=False for another version"
        )


def _parse(name: str, file: str, path: str, stream: BinaryIO, size: int) -> list[_Any]:
    """The arrays in a published file."""
    if file == _ZIP:
        return _emnist(name, path, stream)
    if file == _TAR:
        return _cifar(path, stream)
    most = _MOST_IMAGES if "images" in file else _MOST_LABELS
    array = read_idx_stream(path, stream, size, most)
    rank = 3 if "images" in file else 2 if "idx2" in file else 1
    if array.ndim != rank:
        expected = f"{rank} dimensions"
        raise SamplesError(path, expected, f"{array.ndim}", "was another file given this name?")
    return [array]


def _emnist(name: str, path: str, stream: BinaryIO) -> list[_Any]:
    """Four arrays from the archive of all sets."""
    import zipfile

    arrays = []
    try:
        with zipfile.ZipFile(stream) as archive:
            for part in ("train", "test"):
                for kind in ("images-idx3", "labels-idx1"):
                    inner = f"gzip/{name}-{part}-{kind}-ubyte.gz"
                    info = archive.getinfo(inner)
                    most = _SETS[name].most
                    if info.file_size > most:
                        got = f"{info.file_size}"
                        raise SamplesError(path, f"at most {most} bytes in {inner}", got, _AGAIN)
                    content = archive.read(info)
                    where = f"{path}, {inner}"
                    arrays.append(read_idx_stream(where, io.BytesIO(content), len(content), most))
    except DataError:
        raise
    except Exception as error:  # zipfile fails in many ways: with OSError and RuntimeError, too
        got = f"{type(error).__name__}: {error}"
        raise SamplesError(path, "EMNIST's archive", got, _AGAIN) from None
    return arrays


def _cifar(path: str, stream: BinaryIO) -> list[_Any]:
    """Four arrays from the archive: each record is a label and three planes of 32x32 bytes."""
    import tarfile

    batches: dict[str, _Any] = {}
    try:
        unpacked: Any = _Bounded(stream, 2**28)
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if name not in (*_BATCHES, "test_batch.bin") or not member.isfile():
                    continue
                if member.size % (_RECORD) or member.size > 2**26:
                    expected = f"records of {_RECORD} bytes in {name}"
                    raise SamplesError(path, expected, f"{member.size} bytes", _AGAIN)
                file = archive.extractfile(member)
                content = b"" if file is None else file.read()
                batches[name] = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    except DataError:
        raise
    except Exception as error:  # so does tarfile
        got = f"{type(error).__name__}: {error}"
        raise SamplesError(path, "CIFAR-10's binary archive", got, _AGAIN) from None
    missing = [name for name in (*_BATCHES, "test_batch.bin") if name not in batches]
    if missing:
        raise SamplesError(path, f"a file {missing[0]} in it", "none", _AGAIN)
    train, test = np.concatenate([batches[name] for name in _BATCHES]), batches["test_batch.bin"]
    return [train[:, 1:], train[:, 0], test[:, 1:], test[:, 0]]


class _Bounded:
    """Reads unpacked bytes of a gzip file, up to a limit, so that no bomb is unpacked."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self.stream = gzip.GzipFile(fileobj=stream)
        self.left = most

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        received = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(received)
        if self.left < 0:
            raise ValueError("more bytes than the data set has")
        return received


def _not_found(
    known: _Set, file: str, folder: Path, reasons: Mapping[str, str]
) -> DatasetNotFoundError:
    def lines() -> Iterator[str]:
        state = "" if folder.is_dir() else " (no such folder)"
        yield f"{known.title} is not complete in {folder}{state}: {file} is missing"
        yield from ("", "Addresses:")
        for mirror, reason in reasons.items():
            yield f"    {mirror}{file}"
            yield f"        {reason}"
        yield from ("", "What to do:")
        yield f"    - fetch {', '.join(known.files)}"
        yield "      into a folder, and name it: load_named(NAME, data_dir=FOLDER)."

    return DatasetNotFoundError("\n".join(lines()))
