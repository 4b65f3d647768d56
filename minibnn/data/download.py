"""Download the MNIST files from one of two mirrors into the user's cache folder.

The packages that only a download needs are imported inside the functions.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from minibnn.atomic_file import require_writable, whole_file
from minibnn.data.errors import DatasetMismatchError, IdxFormatError

if TYPE_CHECKING:
    import logging
    from pathlib import Path

__all__ = ["MIRRORS", "MirrorsFailedError", "cache_folder", "fetch", "is_offline"]

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_TIMEOUT = 10.0  # seconds without a byte after which a mirror has failed
_PATIENCE = 3  # timeouts that a download may take, in addition to the time for its bytes
_SLOWEST = 10_000  # bytes per second, on average
_CHUNK = 1 << 14
_MOST_REDIRECTS = 10
_LONGEST_REASON = 200  # characters

_Content = TypeVar("_Content")


class MirrorsFailedError(Exception):
    """No mirror sent the file; `reasons` gives the reason for each address."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons


def cache_folder() -> Path:
    """The folder for downloads, which may not exist yet."""
    from pathlib import Path

    import pooch

    return Path(pooch.os_cache("minibnn")) / "mnist"


def is_offline() -> bool:
    """Whether the environment variable MINIBNN_OFFLINE forbids downloads."""
    return os.environ.get("MINIBNN_OFFLINE", "") not in ("", "0")


def fetch(
    file_name: str,
    folder: Path,
    mirrors: list[str],
    read: Callable[[BinaryIO, int], _Content],
    limit: int,
) -> _Content:
    """Download one file into `folder` from the first mirror whose copy `read` accepts.

    The file is received in memory, checked by `read`, and then written atomically. So several
    processes can fill one cache at the same time. A mirror can cost at most `limit` bytes and a
    limited time; then the next one is tried.

    Args:
        file_name: its name at the mirrors and in the folder.
        folder: created if it does not exist.
        mirrors: addresses in the order to try. This list is changed: a mirror that fails moves to
            the end, so that a slow one costs its timeout only once, and not for each file.
        read: takes the downloaded file, open, and its size; returns its content, or raises.
        limit: the largest size of a valid copy, in bytes.

    Raises:
        MirrorsFailedError: no mirror sent a valid file.
        OSError: the folder is not writable.
    """
    import shutil

    target = folder / file_name
    folder.mkdir(parents=True, exist_ok=True)
    require_writable(target)
    for leftover in folder.glob(".download-*"):  # left by killed processes of minibnn 0.1
        shutil.rmtree(leftover, ignore_errors=True)
    reasons: dict[str, str] = {}
    for mirror in tuple(mirrors):
        try:
            received = _download(mirror + file_name, limit)
            content = read(io.BytesIO(received), len(received))
        except Exception as error:  # a mirror can fail in any way; Ctrl-C is not an Exception
            reasons[mirror] = _reason(error)
            mirrors.remove(mirror)
            mirrors.append(mirror)
            continue
        _store(received, target)
        return content
    raise MirrorsFailedError(reasons)


def _download(url: str, limit: int) -> bytes:
    """Receive at most `limit` bytes, at `_SLOWEST` bytes per second or faster.

    A thread waits for the server: requests itself does not limit the total time of a name lookup,
    a redirect or a header that arrives byte by byte. After a failure here, the thread ends when
    the server next sends something.

    Raises:
        Exception: any kind, also whatever requests raises.
    """
    import logging
    import queue
    import threading

    import requests  # noqa: F401  # here, so that the time limit does not include it
    from tqdm import tqdm

    chunks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stop = threading.Event()

    def receive() -> None:
        try:
            for chunk in _chunks(url):
                chunks.put(chunk)
                if stop.is_set():
                    return
            chunks.put(None)
        except BaseException as error:
            chunks.put(error)

    received = bytearray()
    start = time.monotonic()
    name = os.path.basename(url)
    # urllib3 2 uses the first of these loggers, urllib3 1 the second.
    loggers = [logging.getLogger(f"urllib3.{n}") for n in ("connection", "connectionpool")]
    for logger in loggers:
        logger.addFilter(_is_error)
    with tqdm(desc=name, unit="B", unit_scale=True, disable=None) as bar:
        threading.Thread(target=receive, daemon=True).start()
        try:
            while True:
                allowed = _PATIENCE * _TIMEOUT + len(received) / _SLOWEST
                left = start + allowed - time.monotonic()
                try:
                    chunk = chunks.get(timeout=max(left, 0))
                except queue.Empty:
                    got = f"{len(received):,} bytes in {allowed:.0f} s"
                    raise TimeoutError(f"timed out: too slow, {got}") from None
                if chunk is None:
                    return bytes(received)
                if isinstance(chunk, BaseException):
                    raise chunk
                if isinstance(chunk, int):
                    bar.reset(chunk)
                    size = chunk
                else:
                    received += chunk
                    bar.update(len(chunk))
                    size = len(received)
                if size > limit:
                    raise ValueError(f"more than the {limit:,} bytes of the file") from None
        finally:
            stop.set()
            for logger in loggers:
                logger.removeFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    """Filter out warnings with tracebacks about malformed headers, which do not matter here."""
    return record.levelno >= 40


def _chunks(url: str) -> Iterator[int | bytes]:
    """Yield the size that the server declares, if any, and then its bytes, not decoded."""
    from urllib.parse import urljoin

    import requests

    # Without content encoding the received bytes can be counted, and no bomb is unpacked.
    headers = {"Accept-Encoding": "identity"}
    session = requests.Session()
    # Follow redirects here: requests would receive each body completely first.
    session.get_redirect_target = lambda _: None  # type: ignore[method-assign,assignment]
    for _ in range(_MOST_REDIRECTS + 1):
        with session, session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            answer.raise_for_status()
            if answer.is_redirect:
                url = urljoin(url, answer.headers["Location"])
                continue
            told = answer.headers.get("Content-Length", "")
            if told.isascii() and told.isdigit():
                yield int(told[:20])
            while chunk := answer.raw.read(_CHUNK, decode_content=False):
                yield chunk
            return
    raise ValueError(f"redirected more than {_MOST_REDIRECTS} times")


def _store(received: bytes, target: Path) -> None:
    try:
        with whole_file(target) as file:
            file.write(received)
    except PermissionError:
        # Windows cannot replace a file that another process is reading. If the file exists, that
        # process has already filled the cache.
        if not target.exists():
            raise


def _reason(error: Exception) -> str:
    """Why a mirror failed, in one line."""
    if isinstance(error, IdxFormatError):
        return f"sent something else: expected {error.expected}, got {error.got}"
    if isinstance(error, DatasetMismatchError):
        return "sent a file with other content (sha256 differs)"
    # requests wraps the errors of urllib3, which wraps those of sockets: the innermost explains.
    root: BaseException = error
    while inner := root.__cause__ or (None if root.__suppress_context__ else root.__context__):
        root = inner
    # It may contain text from the server: of any length, with control characters.
    text = f"{type(root).__name__}: {root}"[:_LONGEST_REASON]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
