"""Recording what a device does, to do it again without Python: CUDA graphs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import ModuleType
from typing import Any

from minibnn.backend.array import Array
from minibnn.backend.capture.kept_signs import KeptSigns

LANES = 2  # what is put aside goes to these streams in turn
NOTHING = nullcontext()


class _Streams(threading.local):
    """A thread's own streams, and what it has put aside while it records into them."""

    main: Any = None
    lanes: tuple[Any, ...] | list[Any] = ()
    turn = 0
    pending: Any = None  # pairs of an event and the arrays that are held; None: nothing goes aside
    events: Any = ()  # of the capture: none is destroyed before its end


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

    def is_on(self, stream: Any) -> bool:
        """Whether this is the stream it was recorded on."""
        return stream is self._stream


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

    def free_idle_memory(self) -> None:
        """Give back what is kept for others, before a recording takes memory of its own."""

    def prepare_stream(self) -> None:
        """Make what work on the current stream will need, since a recording cannot make it."""

    @contextmanager
    def stream(self) -> Iterator[None]:
        """While entered, work goes to a stream of this thread's own, the only kind that records.

        It begins after everything that was queued before, and what is queued afterwards waits for
        it; the host never does.
        """
        cuda = self.xp.cuda
        outside, stream = cuda.get_current_stream(), self._streams().main
        stream.wait_event(outside.record())
        with stream:
            try:
                yield
            finally:
                outside.wait_event(stream.record())

    def record(
        self, work: Callable[[], object], times: Sequence[int] = (1,), *, lanes: bool = False
    ) -> dict[int, Recording]:
        """Record some work, once or many times in a row, without doing it; only within `stream`.

        Everything that the work needs the first time it runs (compiled kernels, handles) must be
        there: run it once before. It takes its memory from a pool that belongs to the recordings,
        since a common one would give the same memory to others while they still use it. They share
        it, so they are to be replayed one after another.

        Args:
            work: what to record.
            times: how often, for each recording.
            lanes: whether what the work does `aside` is recorded beside the rest.

        Returns:
            a recording for each of `times`.

        Raises:
            Exception: whatever the work raises when it does something that cannot be recorded, such
                as reading a value. Nothing is left behind then.
        """
        cuda, own = self.xp.cuda, self._streams()
        for lane in own.lanes:
            with lane:
                self.prepare_stream()
        self.free_idle_memory()
        pool = cuda.MemoryPool()
        with cuda.using_allocator(pool.malloc):
            return {n: self._record(work, n, pool, own, lanes) for n in times}

    def _record(
        self, work: Callable[[], object], times: int, pool: Any, own: _Streams, lanes: bool
    ) -> Recording:
        stream = self.xp.cuda.get_current_stream()
        try:
            stream.begin_capture()
            own.pending, own.events = [] if lanes else None, []
            for _ in range(times):
                work()
            self.join()
            graph = stream.end_capture()
            graph.upload(stream)
        except BaseException:
            for end in (self.join, stream.end_capture):
                if stream.is_capturing():
                    with suppress(Exception):  # they say again what spoilt the capture
                        end()
            raise
        finally:
            own.pending, own.events = None, ()
        return Recording(graph, stream, pool)

    def aside(self, *needed: Array) -> AbstractContextManager[None]:
        """A context for work whose results nobody asks for before `join`: gradients, statistics.

        In a recording it may run beside what follows. Everywhere else it changes nothing.

        Args:
            needed: the arrays that the work reads, apart from parameters. They are held until
                `join`, since freed memory would be given to what runs beside.
        """
        own: _Streams | None = vars(self).get("_own")
        return NOTHING if own is None or own.pending is None else self._lane(own, needed)

    def join(self) -> None:
        """Wait, on the device, for everything that was put `aside`."""
        own: _Streams | None = vars(self).get("_own")
        if own is None or not own.pending:
            return
        stream = self.xp.cuda.get_current_stream()
        for event, _ in own.pending:
            stream.wait_event(event)
            own.events.append(event)
        own.pending.clear()

    @contextmanager
    def _lane(self, own: _Streams, needed: tuple[Array, ...]) -> Iterator[None]:
        lane = own.lanes[own.turn % len(own.lanes)]
        own.turn += 1
        fork = self.xp.cuda.get_current_stream().record()
        own.events.append(fork)
        lane.wait_event(fork)
        try:
            with lane:
                yield
        except BaseException:
            with suppress(Exception):  # the capture may be spoilt
                own.pending.append((lane.record(), needed))
            raise
        own.pending.append((lane.record(), needed))

    def _streams(self) -> _Streams:
        own: _Streams = vars(self).setdefault("_own", _Streams())
        if own.main is None:
            own.main, *own.lanes = (
                self.xp.cuda.Stream(non_blocking=True) for _ in range(1 + LANES)
            )
        return own
