"""CUDA graphs: a device's work, captured once and replayed without Python."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any

# One capture at a time: the garbage collector is switched off for the whole program.
_CAPTURE = threading.RLock()


class CapturedWork:
    """Captured work of a device; one `replay` queues all of it.

    The replay works on the same arrays as the capture, with their current values.
    """

    def __init__(self, graph: Any, stream: Any, memory: GrowingMemory) -> None:
        self._graph = graph
        self._stream = stream
        self._memory = memory  # for the arrays that the graph allocates

    def replay(self) -> None:
        """Queue the work again, on the stream that it was captured on."""
        self._graph.launch(self._stream)

    def is_on(self, stream: Any) -> bool:
        """Whether it was captured on this stream; several objects may stand for one stream."""
        return bool(stream.ptr == self._stream.ptr)


class _Streams(threading.local):
    """A thread's own stream on each device."""

    def __init__(self) -> None:
        self.by_device: dict[int, Any] = {}


class Graphs:
    """Captures work on devices whose array module has CuPy's streams and memory pools.

    The default stream cannot capture, so each thread has a stream of its own on each device.
    """

    def __init__(self, xp: ModuleType) -> None:
        self._xp = xp
        self._own = _Streams()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A context in which work goes to this thread's stream on the current device.

        The work starts after everything that was queued before, and everything queued afterwards
        waits for it. The host does not wait.
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
        """Capture work, once or several times in a row, without executing it; inside `stream`.

        Run the work once before, on the same stream: everything that its first run creates
        (compiled kernels, handles) must exist. The captured work has a memory pool of its own,
        since a shared pool would give its memory to others while the graph still uses it. The
        results for all `times` share this pool, so replay them one after another.

        Args:
            work: what to capture.
            times: the numbers of repetitions, one for each result.

        Returns:
            the captured work, by the number of repetitions.

        Raises:
            Exception: what the work raises if it does something that cannot be captured, such as
                reading a value. The stream can be used afterwards.
        """
        memory = GrowingMemory(self._xp.cuda)
        with without_collector():
            # The common pool may hold unused memory that the new pool needs. Freeing it waits for
            # the device, which no thread may do while another one captures.
            self._xp.get_default_memory_pool().free_all_blocks()
            with self._xp.cuda.using_allocator(memory.pool.malloc):
                return {n: self._capture(work, n, memory) for n in times}

    def _capture(
        self, work: Callable[[], object], times: int, memory: GrowingMemory
    ) -> CapturedWork:
        stream = self._xp.cuda.get_current_stream()
        if stream.is_capturing():  # for other code, and its capture must not be ended here
            raise RuntimeError("capture: expected a stream that captures nothing, got a busy one")
        try:
            # CuPy's default is CUDA's relaxed mode, which is needed: in the other modes, the
            # cudaMalloc for the captured work's memory would invalidate the capture.
            stream.begin_capture()
            for _ in range(times):
                work()
            graph = stream.end_capture()
            graph.upload(stream)
        except BaseException:
            # An invalidated capture has to be ended before its stream can be used again. There is
            # no check whether one is open: `is_capturing` raises while it is invalid.
            with suppress(Exception):
                stream.end_capture()
            raise
        return CapturedWork(graph, stream, memory)


class GrowingMemory:
    """A memory pool that returns nothing to the device while it exists.

    When the device is full, CuPy's pool frees its unused blocks and tries again. But a captured
    step writes to the same memory in each launch, also where Python has deleted the arrays since.

    Attributes:
        pool: a memory pool of CuPy's that gets its memory from this object.
    """

    def __init__(self, cuda: Any) -> None:
        self._blocks: list[Any] = []
        self.pool = cuda.MemoryPool(partial(_take, cuda, self._blocks))


def _take(cuda: Any, blocks: list[Any], size: int) -> Any:
    """A new block of the device's memory, which is kept in `blocks`."""
    try:
        block = cuda.Memory(size)
    except cuda.runtime.CUDARuntimeError as error:
        if "cudaErrorMemoryAllocation" not in str(error):
            raise
        # Not CUDA's own error type: for that, CuPy's pool would run the garbage collector.
        raise MemoryError(f"the GPU has no {size:,} bytes left for a captured step") from error
    blocks.append(block)
    return cuda.MemoryPointer(block, 0)


@contextmanager
def without_collector() -> Iterator[None]:
    """A context without cyclic garbage collection, which may destroy objects that CUDA still uses.

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
