"""Fetch the MNIST files into the user's cache folder: two mirrors, whole files only.

What only that needs is imported inside the functions: whoever has the files needs none of it.
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
_TIMEOUT = 10.0  # seconds without a byte before a mirror is given up
_PATIENCE = 3  # as many timeouts may pass in all, beside the time that _SLOWEST allows
_SLOWEST = 10_000  # bytes a second, on average
_CHUNK = 1 << 14
_MOST_REDIRECTS = 10
_LONGEST_REASON = 200  # characters

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
    file_name: str,
    folder: Path,
    mirrors: list[str],
    read: Callable[[BinaryIO, int], _Content],
    limit: int,
) -> _Content:
    """Download one file into `folder` from the first mirror whose copy `read` accepts.

    The file is received in memory and written only when `read` has found it good, whole or not at
    all. So several processes can fill one cache at once, each with the same content. Whatever a
    mirror does, it costs no more than `limit` bytes and a limited time, and the next one is tried.

    Args:
        file_name: name at the mirrors and in the folder.
        folder: made if need be.
        mirrors: addresses in the order to try. One that fails is moved to the end, so that a slow
            one costs its timeout once and not for each file.
        read: returns the content of the downloaded file, given open with its size, or raises.
        limit: the most bytes that a good copy can have.

    Raises:
        MirrorsFailedError: no mirror gave a good file.
        OSError: the folder cannot be written.
    """
    import shutil

    target = folder / file_name
    folder.mkdir(parents=True, exist_ok=True)
    require_writable(target)
    for leftover in folder.glob(".download-*"):  # of killed processes of minibnn 0.1
        shutil.rmtree(leftover, ignore_errors=True)
    reasons: dict[str, str] = {}
    for mirror in tuple(mirrors):
        try:
            received = _download(mirror + file_name, limit)
            content = read(io.BytesIO(received), len(received))
        except Exception as error:  # a mirror can go wrong in any way; Ctrl-C is no Exception
            reasons[mirror] = _reason(error)
            mirrors.remove(mirror)
            mirrors.append(mirror)
            continue
        _store(received, target)
        return content
    raise MirrorsFailedError(reasons)


def _download(url: str, limit: int) -> bytes:
    """Receive at most `limit` bytes, at `_SLOWEST` bytes a second or faster.

    A thread does the waiting, since nothing else limits how long a name, a redirect or a header
    may take that comes byte by byte. It ends when it next hears from the server.

    Raises:
        Exception: of any kind.
    """
    import logging
    import queue
    import threading

    import requests  # noqa: F401  # so that the time which that takes is not the server's
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
    # Version 2 of urllib3 speaks by the one, version 1 by the other.
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
    """Leave out warnings, with tracebacks, about headers that nobody here reads."""
    return record.levelno >= 40


def _chunks(url: str) -> Iterator[int | bytes]:
    """The size that the server tells, if it tells one, and then what it sends, as it is."""
    from urllib.parse import urljoin

    import requests

    # `identity`, and no decoding: what is received can be counted, and nothing swells.
    headers = {"Accept-Encoding": "identity"}
    session = requests.Session()
    # Redirects by hand, since requests would receive the whole of each body first.
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
    while inner := root.__cause__ or (None if root.__suppress_context__ else root.__context__):
        root = inner
    # The server's own words may be in it: of any length, and nothing that a terminal should get.
    text = f"{type(root).__name__}: {root}"[:_LONGEST_REASON]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
