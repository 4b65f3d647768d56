"""Batches of arrays of equal length."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeAlias

import numpy as np

from minibnn.backend import Array, Backend, backend_of, get_backend
from minibnn.checks import boolean, generator, integer, number
from minibnn.data.epochs import Loader
from minibnn.state import State

# Makes other samples of those of a batch, by draws from a generator.
Augment: TypeAlias = "Callable[[Array, np.random.Generator], Array]"


class DataLoader(Loader):
    """Cut arrays of equal length into batches, in a new order each epoch.

    Every batch is a tuple of new arrays. They may be kept and changed: this does not affect the
    data set, and later batches do not overwrite them.

    The order of an epoch depends only on the given generator and the epoch's number, not on
    earlier epochs. ``for batch in loader`` runs epochs 0, 1, 2, ... one after the other;
    ``loader.batches(epoch)`` runs any of them.

    `state` says which batches were given out. After `restore`, the first loop has the batches left
    of that epoch only, and later loops have whole epochs.

    Args:
        arrays: for example ``(images, labels)``; all of the same length, at least 1. To train with
            a weight for each sample, ``(images, labels, weights)``.
        batch_size: samples in a batch.
        shuffle: whether to draw a new order for each epoch.
        drop_last: whether to leave out a last batch that would be smaller.
        rng: a generator or a seed, required for shuffling and augmenting. The constructor draws one
            number.
        augment: a function ``augment(x, rng)`` that returns other samples in the place of x, those
            of a batch: as many, of the same dtype, on the same device. `rng` is a NumPy generator
            that depends on the seed, the epoch and the batch's number alone, so a training can be
            repeated, and resumed inside an epoch. `RandomShift` and `Cutout` are such functions;
            write your own like them. Evaluation (`in_order`) uses the samples as they are.

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
        augment: Augment | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(arrays, tuple | list) or getattr(batch_size, "shape", ()) != ():
            raise TypeError(
                "DataLoader: expected a tuple of arrays and a batch size, such as "
                f"((x, labels), 64), got {type(arrays).__name__} and {type(batch_size).__name__}"
            )
        batch_size = integer("DataLoader", "batch_size", batch_size, least=1)
        # If an array were not contiguous, each batch would first copy all of it.
        self.arrays = tuple(_contiguous(a, i) for i, a in enumerate(arrays))
        lengths = [len(a) for a in self.arrays]
        if not lengths or min(lengths) < 1 or min(lengths) != max(lengths):
            hint = "".join(
                f"; array {i} would fit as its transpose, .T"
                for i, a in enumerate(self.arrays)
                if a.ndim == 2 and len(a) < a.shape[1] == max(lengths)
            )
            raise ValueError(
                "DataLoader: expected arrays of one length, at least 1, got lengths "
                f"{lengths}{hint}"
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
        if augment is not None and (isinstance(augment, type) or not callable(augment)):
            raise TypeError(
                "DataLoader: expected augment to be a function of the samples and a generator, got "
                f"{augment!r}; write an object such as Cutout(8)"
            )
        if augment is not None and rng is None:
            raise TypeError(
                "DataLoader: expected rng, a numpy.random.Generator or a seed, with augment"
            )
        self.backend = backend_of(self.arrays[0])
        if any(backend_of(a) is not self.backend for a in self.arrays):
            raise TypeError("DataLoader: expected all arrays on one device")
        self.batch_size = batch_size
        self.shuffle = boolean("DataLoader", "shuffle", shuffle)
        self.drop_last = boolean("DataLoader", "drop_last", drop_last)
        self.augment = augment
        draws = shuffle or augment is not None
        self._seed = int(generator("DataLoader", rng).integers(2**63)) if draws else 0

    def __repr__(self) -> str:
        augment = (
            ""
            if self.augment is None
            else f", augment={getattr(self.augment, '__name__', self.augment)}"
        )
        return (
            f"DataLoader({self.samples} samples, batch_size={self.batch_size}, "
            f"shuffle={self.shuffle}, drop_last={self.drop_last}{augment})"
        )

    @property
    def samples(self) -> int:
        """The length of the arrays."""
        return len(self.arrays[0])

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(self.samples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def batches(self, epoch: int, *, first: int = 0) -> Iterator[tuple[Array, ...]]:
        """The batches of the epoch with this number, from number `first` on."""
        if self.shuffle:
            order = self.backend.asarray(self.order(epoch))
        for i in range(first, len(self)):
            rows = slice(i * self.batch_size, (i + 1) * self.batch_size)
            if self.shuffle:
                batch = tuple(self.backend.gather(a, order[rows]) for a in self.arrays)
            else:
                batch = tuple(a[rows].copy() for a in self.arrays)
            if self.augment is not None:
                key = np.random.SeedSequence([self._seed, epoch], spawn_key=(i,))
                batch = self._augmented(batch, self.augment, np.random.default_rng(key))
            yield batch

    def _augmented(
        self, batch: tuple[Array, ...], augment: Augment, rng: np.random.Generator
    ) -> tuple[Array, ...]:
        """A batch with other samples in the place of its own."""
        x, *others = batch
        try:
            changed = augment(x, rng)
        except Exception as error:
            error.add_note("DataLoader: raised by augment")
            raise
        array = isinstance(changed, self.backend.array_type)
        if not array or (changed.dtype, changed.shape[:1]) != (x.dtype, x.shape[:1]):
            got = f"{changed.dtype} {changed.shape}" if array else type(changed).__name__
            raise ValueError(
                f"DataLoader: expected augment to return {len(x)} samples of {x.dtype} on the "
                f"{self.backend.name}, got {got}; return as many, of the same dtype"
            )
        return (changed, *others)

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
        if type(self).__iter__ is not Loader.__iter__ and type(self).state is DataLoader.state:
            raise TypeError(
                f"{type(self).__name__}: expected a loader that can continue inside an epoch, got "
                "one with an __iter__ of its own; override batches(epoch) instead"
            )
        return {"seed": self._seed, **super().state()}

    def restore(self, state: State) -> None:
        """Continue after the batch that was given out last when `state` was taken."""
        super().restore(state)
        self._seed = integer("DataLoader", "seed", state["seed"], least=0)

    def from_arrays(self) -> bool:
        """Whether batches are rows of the arrays, perhaps augmented: no method was overridden."""
        names = ("__iter__", "__len__", "batches", "order")
        return not any(
            name in vars(self) or getattr(type(self), name) is not getattr(DataLoader, name)
            for name in names
        )

    def only_gathers(self) -> bool:
        """Whether batches are rows of the arrays in `order`, as they are."""
        return self.augment is None and self.from_arrays()

    def look(self) -> tuple[Array, ...]:
        """The arrays."""
        return self.arrays

    def in_order(self, batch_size: int | None = None) -> DataLoader:
        """A loader for evaluation: every sample once, in the order of the arrays, not augmented."""
        return DataLoader(self.arrays, batch_size or self.batch_size)

    def split(self, fraction: float) -> tuple[Self, DataLoader]:
        """Hold out a part of the samples for validation; a loader of the others, and one of these.

        The loader's seed draws them, so it is the same part each time. The first loader continues
        where this one is. Both have copies of their samples.

        Args:
            fraction: the part to hold out, between 0 and 1.

        Raises:
            ValueError: for a fraction that leaves one of the two empty; for a loader that does not
                shuffle, and so has no seed.
        """
        fraction = number("DataLoader", "fraction", fraction)
        count = round(fraction * self.samples) if 0 < fraction < 1 else 0
        if not 0 < count < self.samples:
            raise ValueError(
                f"DataLoader: expected a fraction of its {self.samples:,} samples that leaves some "
                f"for training and some for validation, got {fraction}; write 0.1 for a tenth"
            )
        if not self.shuffle:
            raise ValueError(
                "DataLoader: expected a loader with shuffle=True, whose seed draws the samples to "
                "hold out, got one without; cut the arrays yourself, and make two loaders"
            )
        key = np.random.SeedSequence(self._seed, spawn_key=(0, 0))
        order = np.random.default_rng(key).permutation(self.samples)
        others, held_out = (
            tuple(self.backend.gather(a, self.backend.asarray(np.sort(rows))) for a in self.arrays)
            for rows in (order[count:], order[:count])
        )
        training = copy.copy(self)
        training.arrays = others
        if not len(training):
            raise ValueError(
                f"DataLoader: {training.samples} samples make no batch of {self.batch_size} with "
                "drop_last=True; use a smaller batch_size"
            )
        return training, DataLoader(held_out, self.batch_size)

    def to(self, device: str | Backend) -> Self:
        """Move the arrays to a device, and return the loader; its batches are then made there."""
        target = get_backend(device)
        if target is not self.backend:
            source, self.backend = self.backend, target
            self.arrays = tuple(target.asarray(source.to_host(a)) for a in self.arrays)
        return self


def _contiguous(a: Array, number: int) -> Array:
    try:
        return backend_of(a).xp.ascontiguousarray(a)
    except TypeError as error:
        raise TypeError(f"DataLoader: array {number}: {error}") from None
