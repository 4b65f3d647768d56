"""Recording what a device does, to do it again without Python: CUDA graphs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from minibnn.backend.array import Array
from minibnn.backend.kept_signs import KeptSigns


class Recording:
    """Work of a device that was recorded; `replay` queues all of it at once.

    It works on the arrays it was recorded with, whatever they hold by then.
    """

    def __init__(self, graph: Any, stream: Any, kept: Any) -> None:
        self._graph = graph
        self._stream = stream
        self._kept = kept  # the memory that the graph's own arrays lie in

    def replay(self) -> None:
        """Do it again, after everything that is queued on the stream it was recorded on."""
        self._graph.launch(self._stream)


class Graphs:
    """Part of `Backend`, for array modules that have CuPy's streams and memory pools.

    Attributes:
        records: whether `stream` and `record` work here.
        records_not: if they do not, why.
    """

    xp: ModuleType
    records: bool = False
    records_not: str = "only a GPU can"

    def keep_signs(self, stores: list[Array], weights: list[Array]) -> KeptSigns | None:
        """Let `adam_step` keep the signs of weights, where that is worth it; see `KeptSigns`."""
        return None

    @contextmanager
    def stream(self) -> Iterator[None]:
        """While entered, work goes to a stream of this thread's own, the only kind that records.

        It begins after everything that was queued before, and what is queued afterwards waits for
        it; the host never does.
        """
        cuda = self.xp.cuda
        own = vars(self).setdefault("_own", threading.local())
        if not hasattr(own, "stream"):
            own.stream = cuda.Stream(non_blocking=True)
        stream, outside = own.stream, cuda.get_current_stream()
        stream.wait_event(outside.record())
        with stream:
            try:
                yield
            finally:
                outside.wait_event(stream.record())

    def record(self, work: Callable[[], object], times: int = 1) -> Recording:
        """Record some work, so many times in a row, without doing it. To be called in `stream`.

        Everything that the work needs the first time it runs (compiled kernels, handles) must be
        there: run it once before. It takes its memory from a pool that belongs to the recording,
        since a common one would give the same memory to others while the recording still uses it.

        Raises:
            Exception: whatever the work raises when it does something that cannot be recorded, such
                as reading a value. Nothing is left behind then.
        """
        cuda = self.xp.cuda
        stream, pool = cuda.get_current_stream(), cuda.MemoryPool()
        with cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            try:
                for _ in range(times):
                    work()
            except BaseException:
                with suppress(Exception):  # what spoilt the capture is said again at its end
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        return Recording(graph, stream, pool)
