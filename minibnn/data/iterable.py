"""Batches from an iterable, for data that does not fit in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, Self, TypeAlias

import numpy as np

from minibnn.backend import CPU, Array, Backend, get_backend
from minibnn.checks import integer
from minibnn.data.epochs import Loader
from minibnn.state import State, has_state

# An iterable that can be gone through again, or a function that makes one of an epoch's number.
Batches: TypeAlias = Iterable[Any] | Callable[[int], Iterable[Any]]


class IterableLoader(Loader):
    """Takes its batches from an iterable of your own, so that only one of them is in memory.

    Each batch is ``(x, targets)`` or ``(x, targets, weights)``: host arrays, or what NumPy makes
    arrays of. The loader moves them to its device.

    A training can be resumed at the beginning of an epoch, if an epoch's batches depend on its
    number alone. Inside an epoch it can only be resumed if `batches` has the methods ``state()``
    and ``restore(state)``: after `restore`, its next iterator has the batches that were left. `fit`
    says so when a checkpoint is asked for.

    Args:
        batches: an iterable that begins anew with each loop, such as a list or PyTorch's loader; or
            a function that returns the iterable of an epoch, given its number from 0.
        length: the number of batches in an epoch. The iterable is not asked for more: it may be
            endless, and code behind its last batch does not run. None: ``len(batches)``.

    Raises:
        TypeError: for an iterator or a generator, which can be gone through only once; if the
            length is not known; later, for a batch of another kind.
        ValueError: for no batches; later, if an epoch has fewer than `length`, or the arrays of a
            batch differ in length.

    >>> import numpy as np
    >>> def read(epoch):
    ...     rng = np.random.default_rng(epoch)
    ...     for _ in range(3):
    ...         yield rng.random((2, 4)), rng.integers(0, 2, 2)
    >>> loader = IterableLoader(read, length=3)
    >>> [x.shape for x, labels in loader]
    [(2, 4), (2, 4), (2, 4)]
    """

    def __init__(self, batches: Batches, length: int | None = None) -> None:
        super().__init__()
        if isinstance(batches, Iterator):
            raise TypeError(
                "IterableLoader: expected an iterable that begins anew each epoch, got "
                f"{type(batches).__name__}, which can be gone through once; pass the function that "
                "makes it, of the epoch's number: IterableLoader(lambda epoch: ..., length)"
            )
        if isinstance(batches, type) or not (callable(batches) or isinstance(batches, Iterable)):
            raise TypeError(
                "IterableLoader: expected an iterable of batches, or a function of the epoch's "
                f"number, got {batches!r:.60}; write IterableLoader(lambda epoch: ..., length)"
            )
        if callable(batches):
            _check_function(batches)
        if length is None:
            if not hasattr(batches, "__len__"):
                raise TypeError(
                    "IterableLoader: expected the number of batches in an epoch, since "
                    f"{type(batches).__name__} has no len(); write IterableLoader(batches, length)"
                )
            length = len(batches)  # type: ignore[arg-type]
        self.source = batches
        self.length = integer("IterableLoader", "length", length, least=1)
        self.backend = CPU
        self._goes_back = False  # for an evaluation, after which training goes on
        self.check: Callable[..., object] | None = None  # raises for wrong targets, weights

    def __repr__(self) -> str:
        return f"IterableLoader({type(self.source).__name__}, length={self.length})"

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self.length

    @property
    def continues(self) -> bool:
        """Whether `restore` can continue inside an epoch."""
        return has_state(self.source)

    def batches(self, epoch: int, *, first: int = 0) -> Generator[tuple[Array, ...]]:
        """The batches of the epoch with this number; those left, if it was restored."""
        if first:
            self.require_continues()
        source: Any = self.source
        before = source.state() if self._goes_back and self.continues else None
        done = first
        try:
            batches = source(epoch) if callable(source) else source
            if not isinstance(batches, Iterable):
                raise TypeError(
                    "IterableLoader: expected the function to return an iterable of batches, got "
                    f"{type(batches).__name__}; yield the batches, or return a list of them"
                )
            for batch in islice(batches, self.length - first):
                yield self._checked(batch, epoch, done)
                done += 1
        finally:
            if before is not None:
                source.restore(before)
        if done < self.length:
            raise ValueError(
                f"IterableLoader: expected {self.length:,} batches in epoch {epoch}, got {done:,}; "
                "make length the number of batches that every epoch has"
            )

    def _checked(self, batch: Any, epoch: int, number: int) -> tuple[Array, ...]:
        """A batch as arrays of the device."""
        where = f"IterableLoader: epoch {epoch}, batch {number}"
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            got = type(batch).__name__
            got += f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
            raise TypeError(f"{where}: expected (x, targets) or (x, targets, weights), got {got}")
        arrays = tuple(a if isinstance(a, np.ndarray) else CPU.asarray(a) for a in batch)
        lengths = [len(a) if a.ndim else 0 for a in arrays]
        if min(lengths) < 1 or min(lengths) < max(lengths):
            raise ValueError(
                f"{where}: expected arrays of one length, at least 1, got lengths {lengths}"
            )
        if self.check is not None:
            self.check(*arrays[1:])  # on the host
        return tuple(map(self.backend.asarray, arrays))

    def require_continues(self) -> None:
        """Raise ValueError if a training could not be resumed inside an epoch."""
        if not self.continues:
            raise ValueError(
                "IterableLoader: expected batches with state() and restore(state), to continue "
                f"inside an epoch, got {type(self.source).__name__} without; write both, or save "
                "at the end of epochs only: Checkpoint(..., every='1epoch')"
            )

    def in_order(self, batch_size: int | None = None) -> IterableLoader:
        """A loader for evaluation: the first epoch's batches, as they are.

        If the iterable has a state, they are the next ones, and it goes back afterwards.
        """
        loader = copy.copy(self)
        loader.epoch = loader.position = loader._given = 0
        loader._goes_back = True
        return loader

    def look(self) -> tuple[Array, ...]:
        """The first batch of the first epoch."""
        batches = self.in_order().batches(0)
        try:
            return next(batches)
        finally:
            batches.close()  # which lets the iterable go back

    def to(self, device: str | Backend) -> Self:
        """Make batches on this device from now on, and return the loader."""
        self.backend = get_backend(device)
        return self

    def state(self) -> State:
        """The epoch, how many of its batches were given out, and the state of the iterable."""
        source: Any = self.source
        return {**super().state(), **({"batches": source.state()} if self.continues else {})}

    def restore(self, state: State) -> None:
        """Continue after the batch that was given out last when `state` was taken.

        Raises:
            ValueError: if that was inside an epoch, and the iterable has no `restore`.
        """
        if state["position"]:
            self.require_continues()
        super().restore(state)
        source: Any = self.source
        if self.continues:
            source.restore(state["batches"])


def _check_function(function: Callable[..., Any]) -> None:
    """Raise TypeError unless a function can be called with the epoch's number."""
    import inspect  # slow to import

    try:
        signature = inspect.signature(function)
    except ValueError:  # a function of C that does not tell
        return
    try:
        signature.bind(0)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(
            f"IterableLoader: expected a function of the epoch's number, got {name}{signature}: "
            f"{error}; give it one argument, such as epoch"
        ) from None
