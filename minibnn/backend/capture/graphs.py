"""CUDA graphs: a device's work, captured once and replayed without Python."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any

# One capture at a time: the switch of the garbage collector is the whole program's.
_CAPTURE = threading.RLock()


class CapturedWork:
    """Work of a device that was captured; `replay` queues all of it at once.

    It works on the arrays that it was captured with, whatever they hold by then.
    """

    def __init__(self, graph: Any, stream: Any, memory: GrowingMemory) -> None:
        self._graph = graph
        self._stream = stream
        self._memory = memory  # in which the graph's own arrays lie

    def replay(self) -> None:
        """Do it again, after everything that is queued on the stream it was captured on."""
        self._graph.launch(self._stream)

    def is_on(self, stream: Any) -> bool:
        """Whether this is the stream it was captured on, whichever object stands for it."""
        return bool(stream.ptr == self._stream.ptr)


class _Streams(threading.local):
    """A thread's own streams, by device."""

    def __init__(self) -> None:
        self.by_device: dict[int, Any] = {}


class Graphs:
    """Captures work, on devices whose array module has CuPy's streams and memory pools.

    Each thread has a stream of its own for it on each device, since the default stream cannot
    capture. Captured work is replayed on the stream that it was captured on.
    """

    def __init__(self, xp: ModuleType) -> None:
        self._xp = xp
        self._own = _Streams()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """While entered, work goes to this thread's stream on the current device.

        It begins after everything that was queued before, and what is queued afterwards waits for
        it; the host never does.
        """
        cuda, streams = self._xp.cuda, self._own.by_device
        outside, device = cuda.get_current_stream(), cuda.runtime.getDevice()
        if device not in streams:
            streams[device] = cuda.Stream(non_blocking=True)
        own = streams[device]
        own.wait_event(outside.record())
        with own:
            try:
                yield
            finally:
                outside.wait_event(own.record())

    def capture(
        self, work: Callable[[], object], times: Sequence[int] = (1,)
    ) -> dict[int, CapturedWork]:
        """Capture some work, once or many times in a row, without doing it; only within `stream`.

        Everything that the work needs the first time it runs (compiled kernels, handles) must be
        there: run it once before, on the same stream. What is captured takes its memory from a
        pool of its own, since a common one would give the same memory to others while it is still
        used. All of `times` share it, so they are to be replayed one after another.

        Args:
            work: what to capture.
            times: how often, for each of the results.

        Returns:
            the captured work for each of `times`.

        Raises:
            Exception: whatever the work raises when it does something that cannot be captured,
                such as reading a value. Nothing is left behind then.
        """
        memory = GrowingMemory(self._xp.cuda)
        with without_collector():
            # CuPy's common pool keeps memory that nobody uses; the new pool needs it. Freeing waits
            # for the device, which is not allowed while another thread captures.
            self._xp.get_default_memory_pool().free_all_blocks()
            with self._xp.cuda.using_allocator(memory.pool.malloc):
                return {n: self._capture(work, n, memory) for n in times}

    def _capture(
        self, work: Callable[[], object], times: int, memory: GrowingMemory
    ) -> CapturedWork:
        stream = self._xp.cuda.get_current_stream()
        if stream.is_capturing():  # for somebody else: that capture is not ours to end
            raise RuntimeError("capture: expected a stream that captures nothing, got a busy one")
        try:
            # CuPy's default is CUDA's relaxed mode, and it is needed: in the others a cudaMalloc,
            # by which the captured work gets its memory, would invalidate the capture.
            stream.begin_capture()
            for _ in range(times):
                work()
            graph = stream.end_capture()
            graph.upload(stream)
        except BaseException:
            # Only the end of an invalidated capture makes its stream usable again. Whether one is
            # open cannot be asked before: the question itself raises while it is invalid.
            with suppress(Exception):
                stream.end_capture()
            raise
        return CapturedWork(graph, stream, memory)


class GrowingMemory:
    """A pool of memory that gives nothing back to the device as long as it lives.

    CuPy's pool frees its unused blocks when the device has no more, and tries again. But a captured
    array that is gone in Python is still written to in each replay. So its blocks are held here.

    Attributes:
        pool: a memory pool of CuPy's, whose blocks these are.
    """

    def __init__(self, cuda: Any) -> None:
        self._blocks: list[Any] = []
        self.pool = cuda.MemoryPool(partial(_take, cuda, self._blocks))


def _take(cuda: Any, blocks: list[Any], size: int) -> Any:
    """A block of memory straight from the device, which is held."""
    try:
        block = cuda.Memory(size)
    except cuda.runtime.CUDARuntimeError as error:
        if "cudaErrorMemoryAllocation" not in str(error):
            raise
        # No error of CUDA's: for such a one the pool would run the garbage collector.
        raise MemoryError(f"the GPU has no {size:,} bytes left for a captured step") from error
    blocks.append(block)
    return cuda.MemoryPointer(block, 0)


@contextmanager
def without_collector() -> Iterator[None]:
    """While entered, no cyclic garbage is collected: what it destroys may be part of CUDA's work.

    One thread at a time.
    """
    with _CAPTURE:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()
