"""Batches of arrays of equal length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from minibnn.backend import Array, Backend, backend_of, get_backend
from minibnn.checks import generator, integer


class DataLoader:
    """Cut arrays of equal length into batches, in a new order each epoch.

    Every batch is a tuple of new arrays. They may be kept and changed: this does not affect the
    data set, and later batches do not overwrite them.

    The order of an epoch depends only on the given generator and the epoch's number, not on
    earlier epochs. ``for batch in loader`` runs epochs 0, 1, 2, ... one after the other;
    ``loader.batches(epoch)`` runs any of them.

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
        self.epoch = 0
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
        """The batches of the next epoch."""
        epoch = self.epoch
        self.epoch += 1
        return self.batches(epoch)

    def batches(self, epoch: int) -> Iterator[tuple[Array, ...]]:
        """The batches of the epoch with this number."""
        if self.shuffle:
            order = self.backend.asarray(self.order(epoch))
        for i in range(len(self)):
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
