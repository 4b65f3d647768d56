"""Batches of arrays of equal length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Self

import numpy as np

from minibnn.backend import Array, Backend, backend_of, get_backend
from minibnn.checks import generator, integer
from minibnn.state import State, Stateful, require_form


class DataLoader(Stateful):
    """Cut arrays of equal length into batches, in a new order each epoch.

    Every batch is a tuple of new arrays. They may be kept and changed: this does not affect the
    data set, and later batches do not overwrite them.

    The order of an epoch depends only on the given generator and the epoch's number, not on
    earlier epochs. ``for batch in loader`` runs epochs 0, 1, 2, ... one after the other;
    ``loader.batches(epoch)`` runs any of them.

    `state` says which batches were given out. After `restore`, the first loop has the batches left
    of that epoch only, and later loops have whole epochs.

    Args:
        arrays: for example ``(images, labels)``; all of the same length, at least 1.
        batch_size: samples in a batch.
        shuffle: whether to draw a new order for each epoch.
        drop_last: whether to leave out a last batch that would be smaller.
        rng: a generator or a seed, required for shuffling. The constructor draws one number.

    Raises:
        ValueError: for no arrays, empty arrays, unequal lengths, a batch size below 1, or if
            `drop_last` would leave no batch.
        TypeError: for shuffling without `rng`, for values that are not arrays, or for arrays on
            more than one device.

    >>> import numpy as np
    >>> loader = DataLoader((np.arange(5), np.arange(5) ** 2), batch_size=2)
    >>> [(x.tolist(), y.tolist()) for x, y in loader]
    [([0, 1], [0, 1]), ([2, 3], [4, 9]), ([4], [16])]
    """

    def __init__(
        self,
        arrays: Sequence[Array],
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        if not isinstance(arrays, tuple | list) or getattr(batch_size, "shape", ()) != ():
            raise TypeError(
                "DataLoader: expected a tuple of arrays and a batch size, such as "
                f"((x, labels), 64), got {type(arrays).__name__} and {type(batch_size).__name__}"
            )
        batch_size = integer("DataLoader", "batch_size", batch_size, least=1)
        # If an array were not contiguous, each batch would first copy all of it.
        self.arrays = tuple(backend_of(a).xp.ascontiguousarray(a) for a in arrays)
        lengths = [len(a) for a in self.arrays]
        if not lengths or min(lengths) < 1 or min(lengths) != max(lengths):
            raise ValueError(
                f"DataLoader: expected arrays of one length, at least 1, got lengths {lengths}"
            )
        if drop_last and lengths[0] < batch_size:
            raise ValueError(
                f"DataLoader: {lengths[0]} samples make no batch of {batch_size} with "
                "drop_last=True; use a smaller batch_size"
            )
        if shuffle and rng is None:
            raise TypeError(
                "DataLoader: expected rng, a numpy.random.Generator or a seed, with shuffle=True"
            )
        self.backend = backend_of(self.arrays[0])
        if any(backend_of(a) is not self.backend for a in self.arrays):
            raise TypeError("DataLoader: expected all arrays on one device")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.epoch = 0  # the number of the epoch that the next loop runs
        self.position = 0  # how many batches of it are done: 0 but after `restore`
        self._given = 0  # how many batches of the running epoch, number `epoch - 1`, were given out
        self._seed = int(generator("DataLoader", rng).integers(2**63)) if shuffle else 0

    def __repr__(self) -> str:
        return (
            f"DataLoader({self.samples} samples, batch_size={self.batch_size}, "
            f"shuffle={self.shuffle}, drop_last={self.drop_last})"
        )

    @property
    def samples(self) -> int:
        """The length of the arrays."""
        return len(self.arrays[0])

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(self.samples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        """The batches of the next epoch, or the other ones of an epoch that was restored."""
        epoch, first = self.begin_epoch()
        batches = self.batches(epoch) if first == 0 else self._after(epoch, first)
        return self._noted(batches)

    def begin_epoch(self) -> tuple[int, int]:
        """Count an epoch as begun; its number, and how many of its batches are done.

        For loops that make batches themselves; they call `note_given` after each step.
        """
        epoch, first = self.epoch, self.position
        self.epoch, self.position, self._given = epoch + 1, 0, first
        return epoch, first

    def note_given(self, batches: int) -> None:
        """Count batches of the running epoch as given out."""
        self._given += batches

    def _noted(self, batches: Iterator[tuple[Array, ...]]) -> Iterator[tuple[Array, ...]]:
        for batch in batches:
            self._given += 1
            yield batch

    def _after(self, epoch: int, first: int) -> Iterator[tuple[Array, ...]]:
        """The batches of an epoch from number `first` on, also of a subclass's `batches`."""
        if type(self).batches is DataLoader.batches:
            return self.batches(epoch, first=first)
        return islice(self.batches(epoch), first, None)

    def batches(self, epoch: int, *, first: int = 0) -> Iterator[tuple[Array, ...]]:
        """The batches of the epoch with this number, from number `first` on."""
        if self.shuffle:
            order = self.backend.asarray(self.order(epoch))
        for i in range(first, len(self)):
            rows = slice(i * self.batch_size, (i + 1) * self.batch_size)
            if self.shuffle:
                yield tuple(self.backend.gather(a, order[rows]) for a in self.arrays)
            else:
                yield tuple(a[rows].copy() for a in self.arrays)

    def order(self, epoch: int) -> np.ndarray[Any, Any]:
        """The row numbers of all samples in the order of this epoch, on the host."""
        if not self.shuffle:
            return np.arange(self.samples)
        epoch = integer("DataLoader", "epoch", epoch, least=0)
        return np.random.default_rng([self._seed, epoch]).permutation(self.samples)

    def state(self) -> State:
        """The seed of the orders, the epoch, and how many of its batches were given out.

        Raises:
            TypeError: for a class of one's own that overrides ``__iter__``, so that nobody knows
                which batches it has given out, and has no `state` of its own.
        """
        if type(self).__iter__ is not DataLoader.__iter__ and type(self).state is DataLoader.state:
            raise TypeError(
                f"{type(self).__name__}: expected a loader that can continue inside an epoch, got "
                "one with an __iter__ of its own; override batches(epoch) instead"
            )
        epoch, done = self.epoch, self.position
        if self.position == 0 and 0 < self._given < len(self):  # in the middle of an epoch
            epoch, done = epoch - 1, self._given
        return {"seed": self._seed, "epoch": epoch, "position": done}

    def restore(self, state: State) -> None:
        """Continue after the batch that was given out last when `state` was taken."""
        require_form("DataLoader", self.state(), state)
        numbers = [integer("DataLoader", k, state[k], least=0) for k in DataLoader.state(self)]
        self._seed, self.epoch, self.position = numbers
        self._given = 0

    def only_gathers(self) -> bool:
        """Whether batches are rows of the arrays in `order`: no method was overridden."""
        names = ("__iter__", "__len__", "batches", "order")
        return not any(
            name in vars(self) or getattr(type(self), name) is not getattr(DataLoader, name)
            for name in names
        )

    def in_order(self, batch_size: int | None = None) -> DataLoader:
        """A loader for evaluation: every sample once, in the order of the arrays."""
        return DataLoader(self.arrays, batch_size or self.batch_size)

    def to(self, device: str | Backend) -> Self:
        """Move the arrays to a device, and return the loader; its batches are then made there."""
        target = get_backend(device)
        if target is not self.backend:
            source, self.backend = self.backend, target
            self.arrays = tuple(target.asarray(source.to_host(a)) for a in self.arrays)
        return self
