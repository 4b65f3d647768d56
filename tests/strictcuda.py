"""What `strictdev` has of cupy.cuda: streams that record graphs, and memory pools.

On a stream that captures, nothing is computed: each operation is noted, and `Graph.launch` performs
them all again on the same memory, as a CUDA graph does. So what a recorded step may not do fails
here without a GPU:

- A value that leaves the device, or comes from the host, raises DeviceSynchronized.
- Memory that is not taken from a pool of one's own raises AllocationOutsidePool: the common pool
  would give the same memory to others, while the graph still writes to it.
- A Python number stays what it was. `Graph.check_repeats` raises HostNumberInGraph, if one step
  that was recorded after another has other numbers in it.
- Arrays made in a capture hold garbage until the graph is launched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np


class AllocationOutsidePool(RuntimeError):  # noqa: N818
    """A capture took memory without a pool of its own."""


class HostNumberInGraph(RuntimeError):  # noqa: N818
    """A number of the host differs from one recorded step to the next."""


class MemoryPool:
    """A pool of memory; a graph that used it holds on to it."""

    def malloc(self, size: int) -> None:
        """For `using_allocator`, which wants it."""


class Graph:
    """Operations in the order in which they were captured, on one stream or several.

    What another stream does is done as late as can be: when somebody waits for it. So a result that
    is used without waiting for it is not there yet.
    """

    def __init__(self, origin: Stream) -> None:
        self.origin = origin
        self.lanes: dict[Stream, list[Callable[[], object]]] = {origin: []}
        self.descriptions: list[tuple[Any, ...]] = []
        self.made: list[np.ndarray[Any, Any]] = []
        self._done: dict[Stream, int] = {}

    def note(self, operation: Callable[[], object]) -> None:
        self.lanes.setdefault(_Current.stream, []).append(operation)

    def launch(self, stream: Stream | None = None) -> None:
        self._done = dict.fromkeys(self.lanes, 0)
        with np.errstate(all="ignore"):  # a GPU says nothing of nan and overflow
            self.drain(self.origin, len(self.lanes[self.origin]))

    def drain(self, stream: Stream, until: int) -> None:
        """Do what one of the streams does, up to its operation of that number."""
        while self._done[stream] < until:
            self._done[stream] += 1
            self.lanes[stream][self._done[stream] - 1]()

    def check_joined(self) -> None:
        """Raise unless the origin waits for everything, as CUDA does at the end of a capture."""
        self._done = dict.fromkeys(self.lanes, 0)
        waited = dict.fromkeys(self.lanes, 0)
        for stream, until in self.waits:
            waited[stream] = max(waited[stream], until)
        for stream, operations in self.lanes.items():
            if stream is not self.origin and waited[stream] < len(operations):
                raise RuntimeError("cudaErrorStreamCaptureUnjoined: a stream's work is not awaited")

    @property
    def waits(self) -> list[tuple[Stream, int]]:
        return [
            operation.args for operations in self.lanes.values() for operation in operations
            if isinstance(operation, partial) and operation.func == self.drain
        ]  # fmt: skip

    def upload(self, stream: Stream | None = None) -> None:
        """Nothing to do here."""

    def check_repeats(self, steps: int) -> None:
        """Raise unless the graph is so many times the same operations with the same numbers."""
        size, rest = divmod(len(self.descriptions), steps)
        first = self.descriptions[:size]
        for step in range(1, steps):
            for one, other in zip(first, self.descriptions[step * size :], strict=False):
                if one != other:
                    raise HostNumberInGraph(
                        f"recorded step 1 has {one}, step {step + 1} has {other}: a number or a "
                        "shape that changes from step to step; use Backend.numbers"
                    )
        if rest:
            raise HostNumberInGraph(f"{steps} recorded steps differ in their operations")


class Stream:
    """A stream; only one that is not the default one can capture."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.non_blocking = non_blocking
        self.graph: Graph | None = None
        self._outer: list[Stream] = []

    def __enter__(self) -> Stream:
        self._outer.append(_Current.stream)
        _Current.stream = self
        return self

    def __exit__(self, *error: object) -> None:
        _Current.stream = self._outer.pop()

    def begin_capture(self) -> None:
        if not self.non_blocking:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: give Stream(non_blocking=True)")
        if self.graph is not None:
            raise RuntimeError("cudaErrorIllegalState: this stream captures already")
        self.graph = Graph(self)

    def end_capture(self) -> Graph:
        graph = self.graph
        if graph is None or graph.origin is not self:
            raise RuntimeError("cudaErrorIllegalState: this stream does not capture")
        for stream in graph.lanes:
            stream.graph = None
        for a in graph.made:  # nothing was computed
            poison(a)
        graph.check_joined()
        return graph

    def is_capturing(self) -> bool:
        return self.graph is not None

    def record(self) -> Event:
        done = len(self.graph.lanes[self]) if self.graph is not None else 0
        return Event(self.graph, self, done)

    def wait_event(self, event: Event) -> None:
        """Outside of captures streams are always in step here."""
        if event.graph is None:
            return
        if self.graph is None:  # the wait brings this stream into the capture
            self.graph = event.graph
            event.graph.lanes.setdefault(self, [])
        if self.graph is not event.graph:
            raise RuntimeError("cudaErrorStreamCaptureIsolation: an event of another capture")
        self.graph.lanes[self].append(partial(event.graph.drain, event.stream, event.done))

    def synchronize(self) -> None:
        import strictdev

        strictdev.synchronize()


class Event:
    """A point in a stream, after so many of its operations in a capture."""

    def __init__(self, graph: Graph | None, stream: Stream, done: int) -> None:
        self.graph = graph
        self.stream = stream
        self.done = done


class _Current:
    stream = Stream(null=True)
    pool: Any = None


def get_current_stream() -> Stream:
    return _Current.stream


@contextmanager
def using_allocator(allocator: Any) -> Iterator[None]:
    before, _Current.pool = _Current.pool, allocator
    try:
        yield
    finally:
        _Current.pool = before


def capturing() -> Graph | None:
    """What the current stream captures into, if it does."""
    return _Current.stream.graph


def poison(a: np.ndarray[Any, Any]) -> None:
    """Fill an array with what no test mistakes for a result."""
    if a.size:
        pattern = {"f": np.nan, "c": np.nan, "b": True}
        a[...] = pattern.get(a.dtype.kind, np.array([0xCD] * a.itemsize, np.uint8).view(a.dtype))


def perform(
    name: str,
    compute: Callable[..., Any],
    positional: tuple[Any, ...] | list[Any],
    keywords: dict[str, Any],
    target: np.ndarray[Any, Any] | None = None,
) -> Any:
    """Compute on host arrays, or note it if the current stream captures.

    Args:
        name: of the operation.
        compute: called with the rest.
        positional: arguments.
        keywords: arguments.
        target: the array among the arguments that is written to, if there is one.
    """
    graph = capturing()
    if graph is None:
        return compute(*positional, **keywords)

    def again() -> Any:
        return compute(*positional, **keywords)

    if target is not None:
        own = any(target is a or target.base is a for a in graph.made)
        if own:
            again()
        else:  # only its checks
            spare = target.copy()
            compute(
                *(spare if a is target else a for a in positional),
                **{k: spare if a is target else a for k, a in keywords.items()},
            )
        _note(graph, name, again, positional, keywords)
        return target
    result = again()
    parts = list(result) if isinstance(result, tuple | list) else [result]
    given = [a for a in (*positional, *keywords.values()) if isinstance(a, np.ndarray)]
    if all(isinstance(p, np.ndarray) and any(_within(p, a) for a in given) for p in parts):
        return result  # a view
    if not all(isinstance(p, np.ndarray | np.generic) for p in parts):
        return result  # a dtype, or a truth about shapes
    if _Current.pool is None:
        raise AllocationOutsidePool(f"{name} takes memory; capture under using_allocator(pool)")
    made = [np.array(p) for p in parts]
    graph.made += made

    def replay() -> None:
        found = again()
        for a, value in zip(
            made, found if isinstance(found, tuple | list) else [found], strict=True
        ):
            a[...] = value

    _note(graph, name, replay, positional, keywords)
    return type(result)(made) if isinstance(result, tuple | list) else made[0]


def _within(part: np.ndarray[Any, Any], whole: np.ndarray[Any, Any]) -> bool:
    return part is whole or (part.size > 0 and np.may_share_memory(part, whole))


def _note(
    graph: Graph,
    name: str,
    operation: Callable[[], object],
    positional: tuple[Any, ...] | list[Any],
    keywords: dict[str, Any],
) -> None:
    graph.note(operation)
    graph.descriptions.append((name, *map(_describe, (*positional, *keywords.values()))))


def _describe(value: Any) -> Any:
    """An argument for comparisons: the shape of an array, a number itself."""
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype))
    return [_describe(v) for v in value] if isinstance(value, tuple | list) else repr(value)
