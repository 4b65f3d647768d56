"""The part of cupy.cuda that `strictdev` has: streams that capture graphs, and memory pools.

On a stream that captures, nothing is computed: each operation is noted, and `Graph.launch` performs
them all again on the same memory, as a CUDA graph does. So what a captured step may not do fails
here without a GPU:

- A value that leaves the device, or comes from the host, raises DeviceSynchronized. It invalidates
  the capture, too: from then on everything on its stream raises CaptureInvalidated, also the
  question whether it captures, until `end_capture`, which raises it once more and ends it.
- Memory that is not taken from a pool of one's own raises AllocationOutsidePool: the common pool
  would give the same memory to others, while the graph still writes to it.
- A graph whose memory was given back since raises IllegalAddress when it is launched.
- A Python number stays what it was. `Graph.check_repeats` raises HostNumberInGraph, if one step
  that was captured after another has other numbers in it.
- Arrays made in a capture hold garbage until the graph is launched.

The current device and the current stream are those of a thread, as in CuPy: a new thread has device
0 and the default stream. All arrays are on one device, `use_device` says which. Work on a thread
whose current device is another one raises WrongDevice.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np


class AllocationOutsidePool(RuntimeError):  # noqa: N818
    """A capture allocated memory outside a pool of its own."""


class HostNumberInGraph(RuntimeError):  # noqa: N818
    """A number on the host differs between captured steps."""


class CaptureInvalidated(RuntimeError):  # noqa: N818
    """This capture was invalidated; it must be ended."""

    def __init__(self) -> None:
        super().__init__("cudaErrorStreamCaptureInvalidated: an earlier error has invalidated it")


class IllegalAddress(RuntimeError):  # noqa: N818
    """A graph uses memory that was freed."""


class CUDARuntimeError(RuntimeError):
    """Here only for an allocation that does not fit."""


class WrongDevice(RuntimeError):  # noqa: N818
    """Something was done on a thread on which another device is current."""


class _Current(threading.local):
    """What each thread has of its own."""

    device = 0

    def __init__(self) -> None:
        self.stream = default_stream
        self.outer: list[Stream] = []
        self.pool: Any = None


class Device:
    """A device, and how to make it the thread's current one."""

    home = 0  # the one with all arrays

    def __init__(self, number: int) -> None:
        self.id = number

    def use(self) -> Device:
        _current.device = self.id
        return self


@contextmanager
def use_device(number: int) -> Iterator[None]:
    """A context in which all arrays are on this device, which is current on this thread."""
    before = Device.home, _current.device
    Device.home = _current.device = number
    try:
        yield
    finally:
        Device.home, _current.device = before


def check_device() -> None:
    if _current.device != Device.home:
        raise WrongDevice(f"device {_current.device} is current here, arrays are on {Device.home}")


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    getDevice=lambda: _current.device,
    getDeviceProperties=lambda number: {"name": b"no GPU"},
    runtimeGetVersion=lambda: 0,
    deviceGetPCIBusId=lambda number: f"0000:{number + 1:02d}:00.0",
)


# --- Memory -----------------------------------------------------------------------------------


class Memory:
    """A part of the device's memory, freed with its last reference."""

    limit: float = np.inf  # bytes that the device has for such parts
    used = 0

    def __init__(self, size: int) -> None:
        if Memory.used + size > Memory.limit:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        self.size = size
        Memory.used += size

    def __del__(self) -> None:
        if hasattr(self, "size"):
            Memory.used -= self.size


class MemoryPointer:
    """Where a part of memory begins."""

    def __init__(self, mem: Memory, offset: int) -> None:
        self.mem = mem
        self.offset = offset


class MemoryPool:
    """A memory pool. If the device is full, it frees its unused blocks and tries again.

    Here nobody uses any of it by then: the arrays of earlier steps are gone, as far as Python knows.
    """

    def __init__(self, allocator: Callable[[int], MemoryPointer] | None = None) -> None:
        self._allocator = allocator or (lambda size: MemoryPointer(Memory(size), 0))
        self._blocks: list[Memory] = []

    def malloc(self, size: int) -> MemoryPointer:
        """For `using_allocator`, which wants it."""
        try:
            pointer = self._allocator(size)
        except CUDARuntimeError:
            self.free_all_blocks()
            pointer = self._allocator(size)
        self._blocks.append(pointer.mem)
        return pointer

    def free_all_blocks(self) -> None:
        self._blocks.clear()


default_memory_pool = MemoryPool()


# --- Streams and graphs -----------------------------------------------------------------------


class Graph:
    """Operations in the order in which they were captured."""

    def __init__(self) -> None:
        self.operations: list[Callable[[], object]] = []
        self.descriptions: list[tuple[Any, ...]] = []
        self.made: list[np.ndarray[Any, Any]] = []
        self.memory: list[weakref.ref[Memory]] = []
        self.invalid = False

    def check_valid(self) -> None:
        """Raise if the capture was invalidated."""
        if self.invalid:
            raise CaptureInvalidated

    def launch(self, stream: Stream | None = None) -> None:
        if any(memory() is None for memory in self.memory):
            raise IllegalAddress("cudaErrorIllegalAddress: the graph's memory was given back")
        with np.errstate(all="ignore"):  # a GPU says nothing of nan and overflow
            for operation in self.operations:
                operation()

    def upload(self, stream: Stream | None = None) -> None:
        """Nothing to do here."""

    def check_repeats(self, steps: int) -> None:
        """Raise unless the graph repeats the same operations with the same numbers."""
        size, rest = divmod(len(self.descriptions), steps)
        first = self.descriptions[:size]
        for step in range(1, steps):
            for one, other in zip(first, self.descriptions[step * size :], strict=False):
                if one != other:
                    raise HostNumberInGraph(
                        f"captured step 1 has {one}, step {step + 1} has {other}: a number or a "
                        "shape that changes from step to step"
                    )
        if rest:
            raise HostNumberInGraph(f"{steps} captured steps differ in their operations")


class Stream:
    """A stream; only one that is not the default one can capture."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.non_blocking = non_blocking
        self.ptr = id(self)
        self.graph: Graph | None = None
        self.busy = False  # with work that nobody has waited for

    def __enter__(self) -> Stream:
        _current.outer.append(_current.stream)
        _current.stream = self
        return self

    def __exit__(self, *error: object) -> None:
        _current.stream = _current.outer.pop()

    def begin_capture(self) -> None:
        if not self.non_blocking:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: give Stream(non_blocking=True)")
        if self.graph is not None:
            raise RuntimeError("cudaErrorIllegalState: this stream captures already")
        self.graph = Graph()

    def end_capture(self) -> Graph:
        graph, self.graph = self.graph, None
        if graph is None:
            raise RuntimeError("cudaErrorIllegalState: this stream does not capture")
        for a in graph.made:  # nothing was computed
            poison(a)
        graph.check_valid()
        return graph

    def is_capturing(self) -> bool:
        self._check_valid()
        return self.graph is not None

    def record(self) -> Event:
        self._check_valid()
        return Event(self.graph)

    def wait_event(self, event: Event) -> None:
        """Streams always run in order here, and no stream joins another one's capture."""
        self._check_valid()
        if event.graph is not self.graph:
            raise RuntimeError("cudaErrorStreamCaptureIsolation: an event of another capture")

    def synchronize(self) -> None:
        import strictdev

        strictdev.synchronize()
        self.busy = False

    def _check_valid(self) -> None:
        if self.graph is not None:
            self.graph.check_valid()


class Event:
    """A point in a stream, and in its capture, if there is one."""

    def __init__(self, graph: Graph | None) -> None:
        self.graph = graph


default_stream = Stream(null=True)
_current = _Current()


def get_current_stream() -> Stream:
    return _current.stream


@contextmanager
def using_allocator(allocator: Any) -> Iterator[None]:
    before, _current.pool = _current.pool, allocator
    try:
        yield
    finally:
        _current.pool = before


def capturing() -> Graph | None:
    """The graph into which the current stream captures, if any."""
    graph = _current.stream.graph
    if graph is not None:
        graph.check_valid()
    return graph


def poison(a: np.ndarray[Any, Any]) -> None:
    """Fill an array with values that no test mistakes for results."""
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
    """Compute on host arrays, or add the operation to the graph if the current stream captures.

    Args:
        name: of the operation.
        compute: called with the rest.
        positional: arguments.
        keywords: arguments.
        target: the array among the arguments that is written to, if there is one.
    """
    check_device()
    graph = capturing()
    if graph is None:
        _current.stream.busy = True
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
    if _current.pool is None:
        raise AllocationOutsidePool(f"{name} takes memory; capture under using_allocator(pool)")
    made = [np.array(p) for p in parts]
    graph.made += made
    graph.memory += [weakref.ref(_current.pool(a.nbytes).mem) for a in made]

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
    graph.operations.append(operation)
    graph.descriptions.append((name, *map(_describe, (*positional, *keywords.values()))))


def _describe(value: Any) -> Any:
    """An argument for comparisons: the shape of an array, a number itself."""
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype))
    return [_describe(v) for v in value] if isinstance(value, tuple | list) else repr(value)
