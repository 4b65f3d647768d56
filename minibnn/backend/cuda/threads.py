"""What CUDA and CuPy keep for each thread, for threads that work in the place of another one.

The current GPU and the current stream are those of a thread. A new thread has the first GPU and the
default stream, whatever the thread that started it has.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any

PER_THREAD_STREAM = 2  # the address by which CUDA names the default stream of each thread


class _Acting(threading.local):
    thread: int | None = None


_acting = _Acting()


def thread_number() -> int:
    """The number of this thread, or of the one in whose place it works."""
    return threading.get_ident() if _acting.thread is None else _acting.thread


def use(cupy: ModuleType, number: int) -> None:
    """Make a GPU current on this thread, for good.

    There is no context that sets the one before back: that would start CUDA on it, and take
    hundreds of megabytes of its memory.
    """
    if cupy.cuda.runtime.getDevice() != number:
        cupy.cuda.Device(number).use()


def here(cupy: ModuleType) -> AbstractContextManager[None]:
    """A context for another thread, which then works on this thread's GPU and stream.

    It also uses this thread's cuBLAS handle, so this thread has to wait meanwhile.

    Raises:
        RuntimeError: if each thread has a default stream of its own: then nothing orders the work
            of two threads.
    """
    cuda = cupy.cuda
    stream = cuda.get_current_stream()
    if stream.ptr == PER_THREAD_STREAM:
        raise RuntimeError(
            "minibnn: expected one default stream for all threads, got one for each; unset "
            "CUPY_CUDA_PER_THREAD_DEFAULT_STREAM"
        )
    return _in_place_of(thread_number(), cupy, cuda.runtime.getDevice(), stream)


@contextmanager
def _in_place_of(thread: int, cupy: ModuleType, number: int, stream: Any) -> Iterator[None]:
    before, _acting.thread = _acting.thread, thread
    try:
        use(cupy, number)
        with stream:
            yield
    finally:
        _acting.thread = before
