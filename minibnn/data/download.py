"""Fetch the MNIST files into the user's cache folder: two mirrors, whole files only.

pooch, tqdm and tempfile are imported inside the functions: whoever has the files needs none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from minibnn.data.errors import DataError, DatasetMismatchError, IdxFormatError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MIRRORS", "MirrorsFailedError", "cache_folder", "fetch", "is_offline"]

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_TIMEOUT = 10.0  # seconds without a byte before a mirror is given up
_CHUNK = 1 << 16

_Content = TypeVar("_Content")


class MirrorsFailedError(Exception):
    """No mirror gave the file; `reasons` says why for each address."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons


def cache_folder() -> Path:
    """Return the folder that downloads go to, which need not exist yet."""
    from pathlib import Path

    import pooch

    return Path(pooch.os_cache("minibnn")) / "mnist"


def is_offline() -> bool:
    """Return whether the environment variable MINIBNN_OFFLINE forbids downloads."""
    return os.environ.get("MINIBNN_OFFLINE", "") not in ("", "0")


def fetch(
    file_name: str, folder: Path, mirrors: list[str], read: Callable[[Path], _Content]
) -> _Content:
    """Download one file into `folder` from the first mirror whose copy `read` accepts.

    The file is received in a temporary folder of its own and moved only when `read` has found it
    good. So several processes can fill one cache at once, each with the same content, and what a
    killed one leaves behind never carries the name of a data file.

    Args:
        file_name: name at the mirrors and in the folder.
        folder: made if need be.
        mirrors: addresses in the order to try. One that fails is moved to the end, so that a slow
            one costs its timeout once and not for each file.
        read: returns the content of the downloaded file or raises DataError.

    Raises:
        MirrorsFailedError: no mirror gave a good file.
        OSError: the folder cannot be written.
    """
    import tempfile

    folder.mkdir(parents=True, exist_ok=True)
    reasons: dict[str, str] = {}
    # Inside `folder`, since a file can be renamed only within its file system.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as own:
        received = folder / os.path.basename(own) / file_name
        for mirror in tuple(mirrors):
            try:
                _download(mirror + file_name, received)
                content = read(received)
            except (DataError, OSError) as error:
                # requests' exceptions are OSErrors without errno; with one it is our own disk.
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                reasons[mirror] = _reason(error)
                mirrors.remove(mirror)
                mirrors.append(mirror)
                continue
            _move(received, folder / file_name)
            return content
    raise MirrorsFailedError(reasons)


def _download(url: str, path: Path) -> None:
    import pooch
    from tqdm import tqdm

    # total=1 is a stand-in: pooch sets the true size once the server has told it.
    with tqdm(desc=path.name, total=1, unit="B", unit_scale=True, disable=None) as bar:
        get = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK, timeout=_TIMEOUT)
        get(url, str(path), None)


def _move(received: Path, target: Path) -> None:
    try:
        os.replace(received, target)
    except PermissionError:
        # Windows does not replace a file that another process is just reading. Then that process
        # has filled the cache already, and nothing is lost.
        if not target.exists():
            raise


def _reason(error: Exception) -> str:
    """Say in one line why a mirror failed."""
    if isinstance(error, IdxFormatError):
        return f"sent something else: expected {error.expected}, got {error.got}"
    if isinstance(error, DatasetMismatchError):
        return "sent a file with other content (sha256 differs)"
    # requests wraps urllib3 wraps the socket; the innermost exception is the one that explains.
    root: BaseException = error
    while (inner := root.__cause__ or root.__context__) is not None:
        root = inner
    return f"{type(root).__name__}: {root}"
