"""MNIST: find or download its four files, verify them, and return four arrays.

Reference: http://yann.lecun.com/exdb/mnist/; Y. LeCun, L. Bottou, Y. Bengio and P. Haffner,
"Gradient-based learning applied to document recognition", Proceedings of the IEEE, 1998.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from minibnn.data import download
from minibnn.data.dataset import ImageDataset, check_counts
from minibnn.data.errors import (
    DataError,
    DatasetMismatchError,
    DatasetNotFoundError,
    IdxFormatError,
)
from minibnn.data.idx import idx_header, read_idx, read_idx_stream

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["load_mnist", "load_mnist_or_sample", "load_sample"]

# The four files in the order of ImageDataset's fields, each with the SHA-256 of its IDX bytes.
# Unpacked, since mirrors may compress the files differently, and users may unpack them.
_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_ITEMS = {"train": 60_000, "t10k": 10_000}
_SIDE = 28
_CLASSES = 10
# Where the files may be in a user's folder; the last two are torchvision's.
_FOLDERS = (".", "raw", os.path.join("MNIST", "raw"))

_Bytes: TypeAlias = "NDArray[np.uint8]"


def load_mnist(
    data_dir: str | os.PathLike[str] | None = None, *, verify: bool = True
) -> ImageDataset:
    """Load the 60,000 training and 10,000 test images of MNIST.

    Only one folder is searched: `data_dir`, else the folder in the environment variable
    MINIBNN_DATA, else the user's cache folder. Downloads go to the cache only (and are disabled by
    MINIBNN_OFFLINE=1); your own folder is never changed. Each file may be plain or gzipped, and
    named ``train-images-idx3-ubyte`` or ``train-images.idx3-ubyte``. A folder that torchvision has
    filled can be given as its ``root``, ``root/MNIST`` or ``root/MNIST/raw``.

    Args:
        data_dir: folder with the four files.
        verify: whether to compare the files with MNIST's published hashes. False allows a
            drop-in set in the same format, such as Fashion-MNIST; the data set is then named after
            its folder. Downloads are always verified.

    Shapes:
        train_images (60000, 28, 28), train_labels (60000,), test_images (10000, 28, 28),
        test_labels (10000,), all uint8; labels are 0 to 9.

    Raises:
        DatasetNotFoundError: a file is missing and could not be downloaded; with hints.
        DatasetMismatchError: wrong hash, or the numbers of labels and images differ.
        IdxFormatError: a file is damaged, or its content does not match its name.

    Reference: http://yann.lecun.com/exdb/mnist/.
    """
    from pathlib import Path

    origin = "data_dir"
    if data_dir is None:
        origin = "MINIBNN_DATA"
        data_dir = _named_by_environment()
    if data_dir is None:
        folder = _cache_folder()
        parts = _read_cache(folder, verify)
    else:
        folder = Path(os.path.expanduser(data_dir))
        parts = _read_folder(folder, verify, origin)
    check_counts(f"training files in {folder}", *parts[:2])
    check_counts(f"test files in {folder}", *parts[2:])
    own = folder.parent if folder.name == "raw" else folder
    return ImageDataset("MNIST" if verify else own.name, *parts)


def load_sample() -> ImageDataset:
    """Load the 5,000 MNIST digits that come with minibnn, for a first look without a download.

    All are from MNIST's official training set, so accuracy on this test part is not comparable
    with published results. Source and licence: `minibnn/data/sample/LICENSE-DATA.md`.

    Shapes:
        train_images (4000, 28, 28), train_labels (4000,), 400 for each digit;
        test_images (1000, 28, 28), test_labels (1000,), 100 for each digit; all uint8.

    >>> load_sample()
    ImageDataset('MNIST sample (4,000 + 1,000 images)', 4000 training and 1000 test images of 28x28)
    """
    from pathlib import Path

    folder = Path(__file__).parent / "sample"
    parts = [_read_file(folder / f"{name}.gz", name, verify=False) for name in _SHA256]
    return ImageDataset("MNIST sample (4,000 + 1,000 images)", *parts)


def load_mnist_or_sample() -> ImageDataset:
    """Load MNIST, or the bundled sample if MNIST is neither in the cache nor reachable.

    The logger ``minibnn`` warns if the sample is loaded, and the data set's `name` shows it. If
    MINIBNN_DATA names a folder, files that are missing there are an error.

    Raises:
        DatasetNotFoundError: MINIBNN_DATA names a folder without the files.
        DatasetMismatchError, IdxFormatError: as `load_mnist`.
    """
    try:
        return load_mnist()
    except DatasetNotFoundError as error:
        if _named_by_environment() is not None:
            raise
        import logging

        logging.getLogger("minibnn").warning(
            "*** No MNIST here. Going on with the bundled sample: 4,000 training and 1,000\n"
            "*** test digits instead of 60,000 and 10,000. Its figures are not comparable."
            "\n\n%s\n",
            error,
        )
        return load_sample()


def load_by_options(dataset: str, data_dir: str | None, *, verify: bool) -> ImageDataset:
    """Load the data that a command's options name; ``"auto"`` is MNIST or the sample.

    Raises:
        ValueError: for the sample together with a folder or without verification.
    """
    if dataset == "sample":
        for option, used in (("--data-dir", data_dir is not None), ("--no-verify", not verify)):
            if used:
                raise ValueError(
                    f"{option}: the sample comes with minibnn; leave out one of the two"
                )
        return load_sample()
    if dataset == "auto" and data_dir is None and verify:
        return load_mnist_or_sample()
    return load_mnist(data_dir, verify=verify)


def _named_by_environment() -> str | None:
    return os.environ.get("MINIBNN_DATA") or None  # empty counts as not set


def _cache_folder() -> Path:
    try:
        return download.cache_folder()
    except ModuleNotFoundError as error:
        raise DatasetNotFoundError(
            f"MNIST: expected the package {error.name}, which says where the user's cache is, got "
            'none; install it, or name a folder with the four files: load_mnist(data_dir="FOLDER") '
            "or the environment variable MINIBNN_DATA; or start without them: load_sample()"
        ) from error


def _read_folder(folder: Path, verify: bool, origin: str) -> list[_Bytes]:
    found = {where: _find_all(folder / where) for where in _FOLDERS}
    # The folder with most of the files; the first of equal ones.
    paths = max(found.values(), key=lambda paths: sum(map(bool, paths.values())))
    if not all(paths.values()):
        reason = f"not tried: {origin} names this folder; only minibnn's own cache is filled"
        raise _not_found(folder, dict.fromkeys(download.MIRRORS, reason), paths)
    try:
        return [_read_file(path, name, verify=verify) for name, path in paths.items() if path]
    except DataError:
        raise
    except OSError as error:
        raise DatasetNotFoundError(
            f"{error.filename}: expected a file of MNIST that can be read, got {error.strerror}; "
            "make it readable, or name another folder"
        ) from error


def _read_cache(folder: Path, verify: bool) -> list[_Bytes]:
    mirrors = list(download.MIRRORS)
    parts = []
    for name in _SHA256:
        path = _find(folder, name)
        damaged = None
        if path:
            try:
                parts.append(_read_file(path, name, verify=verify))
                continue
            except (DataError, OSError) as error:
                damaged = name
                message = f"cached file is not usable and will be downloaded again: {error}"
                warnings.warn(message, stacklevel=3)
        if download.is_offline():
            reasons = dict.fromkeys(mirrors, "not tried: MINIBNN_OFFLINE is set")
            raise _not_found(folder, reasons, _find_all(folder), damaged)

        limit = _content_bytes(name)

        def read(file: BinaryIO, size: int, name: str = name, limit: int = limit) -> _Bytes:
            return _checked(read_idx_stream(name, file, size, limit), name, name, verify=True)

        # gzip enlarges bytes that cannot be compressed by less than 0.1 %.
        most = limit + limit // 1000 + 1000
        try:
            parts.append(download.fetch(f"{name}.gz", folder, mirrors, read, most))
        except download.MirrorsFailedError as error:
            raise _not_found(folder, error.reasons, _find_all(folder), damaged) from None
        except OSError as error:
            reasons = dict.fromkeys(mirrors, f"not stored: the folder cannot be written: {error}")
            raise _not_found(folder, reasons, _find_all(folder), damaged) from error
    return parts


def _content_bytes(name: str) -> int:
    """The size of the elements in MNIST's own file, unpacked."""
    part, kind = name.split("-")[:2]
    return _ITEMS[part] * (_SIDE**2 if kind == "images" else 1)


def _find_all(folder: Path) -> dict[str, Path | None]:
    return {name: _find(folder, name) for name in _SHA256}


def _find(folder: Path, name: str) -> Path | None:
    # Gzipped files first: a new download takes precedence over a damaged plain file.
    spellings = (name, name.replace("-idx", ".idx"))
    paths = (folder / f"{spelling}{end}" for spelling in spellings for end in (".gz", ""))
    return next((path for path in paths if os.path.isfile(path)), None)


def _read_file(path: Path, name: str, *, verify: bool) -> _Bytes:
    return _checked(read_idx(path), str(path), name, verify=verify)


def _checked(array: np.ndarray[Any, Any], path: str, name: str, *, verify: bool) -> _Bytes:
    """The array in one of the four files, after a check that it matches the file's name."""
    rank, other = (3, "labels") if "images" in name else (1, "images")
    if array.dtype != np.uint8:
        hint = "is this a file of MNIST?"
        raise IdxFormatError(path, 2, "uint8 elements", f"{array.dtype}", hint)
    if array.ndim != rank:
        expected, hint = f"{rank} dimension(s)", f"was the {other} file given under this name?"
        raise IdxFormatError(path, 3, expected, f"{array.ndim}", hint)
    if rank == 3 and array.shape[1:] != (_SIDE, _SIDE):
        expected, got = f"images of {_SIDE}x{_SIDE}", f"{array.shape[1]}x{array.shape[2]}"
        raise IdxFormatError(path, 8, expected, got, "is this a file of MNIST?")
    if rank == 1 and np.any(array >= _CLASSES):
        index = int(np.argmax(array >= _CLASSES))
        expected, got = f"labels from 0 to {_CLASSES - 1}", f"label {array[index]} at index {index}"
        hint = "EMNIST letters are not a drop-in set"
        raise IdxFormatError(path, 8 + index, expected, got, hint)
    if verify:
        import hashlib

        content = hashlib.sha256(idx_header(array))
        content.update(array.data)
        digest = content.hexdigest()
        if digest != _SHA256[name]:
            raise DatasetMismatchError(
                f"{path}: expected MNIST's own file (sha256 of the unpacked content "
                f"{_SHA256[name]}), got sha256 {digest}; fetch the file again, or, for a drop-in "
                "set such as Fashion-MNIST, call load_mnist(data_dir, verify=False)"
            )
    return array


def _not_found(
    folder: Path,
    reasons: Mapping[str, str],
    paths: Mapping[str, Path | None],
    damaged: str | None = None,
) -> DatasetNotFoundError:
    """The error for beginners: what is missing, why, and what to do."""
    state = "" if os.path.isdir(folder) else " (no such folder)"
    if os.path.exists(folder) and state:
        state = f", which is a file; the folder that it is in is {folder.parent}"
    lines = [f"MNIST is not complete in {folder}{state}"]
    lines += ["", "Files, each plain or with .gz:"]
    for name, path in paths.items():
        state = "damaged" if name == damaged else "found" if path else "missing"
        lines.append(f"    {name:<26}{state}")
    lines += ["", "Addresses:"]
    for mirror, reason in reasons.items():
        lines += [f"    {mirror}", f"        {reason}"]
    lines += [
        "",
        "What to do, one of:",
        "    - fetch the four files (with .gz) from one of these addresses into a folder, and name",
        '      it: load_mnist(data_dir="FOLDER"), or set the environment variable MINIBNN_DATA;',
        "    - start without them: load_sample() has 5,000 of the digits and needs no download.",
    ]
    return DatasetNotFoundError("\n".join(lines))
