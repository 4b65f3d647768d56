"""What every loader does: count epochs, and the batches of them that were given out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Self

from minibnn.backend import Array, Backend
from minibnn.checks import integer
from minibnn.state import State, Stateful, require_form


class Loader(Stateful, ABC):
    """Batches ``(x, targets)`` or ``(x, targets, weights)``, an epoch after the other.

    ``for batch in loader`` runs epochs 0, 1, 2, ...; ``loader.batches(epoch)`` runs any of them.

    Attributes:
        backend: where the batches are.
        epoch: the number of the epoch that the next loop runs.
        position: how many batches of it are done: 0 but after `restore`.
    """

    backend: Backend

    def __init__(self) -> None:
        self.epoch = 0
        self.position = 0
        self._given = 0  # how many batches of the running epoch, number `epoch - 1`, were given out

    @abstractmethod
    def __len__(self) -> int:
        """The number of batches in an epoch."""

    @abstractmethod
    def batches(self, epoch: int, *, first: int = 0) -> Iterator[tuple[Array, ...]]:
        """The batches of the epoch with this number, from number `first` on."""

    @abstractmethod
    def in_order(self, batch_size: int | None = None) -> Loader:
        """A loader for evaluation: every sample once, and as it is."""

    @abstractmethod
    def to(self, device: str | Backend) -> Self:
        """Make batches on this device from now on, and return the loader."""

    @abstractmethod
    def look(self) -> tuple[Array, ...]:
        """All samples, targets and weights; those of a first batch, if not all are in memory."""

    def from_arrays(self) -> bool:
        """Whether all samples are in memory, and batches are rows of them, perhaps augmented."""
        return False

    def only_gathers(self) -> bool:
        """Whether batches are rows of arrays in memory, as they are."""
        return False

    @property
    def continues(self) -> bool:
        """Whether `restore` can continue inside an epoch."""
        return True

    def require_continues(self) -> None:
        """Raise ValueError if it cannot."""

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
        """The batches of an epoch from number `first` on, also of a user's `batches`."""
        if type(self).batches.__module__.startswith("minibnn."):
            return self.batches(epoch, first=first)
        return islice(self.batches(epoch), first, None)

    def state(self) -> State:
        """The epoch, and how many of its batches were given out."""
        epoch, done = self.epoch, self.position
        if self.position == 0 and 0 < self._given < len(self):  # in the middle of an epoch
            epoch, done = epoch - 1, self._given
        return {"epoch": epoch, "position": done}

    def restore(self, state: State) -> None:
        """Continue after the batch that was given out last when `state` was taken."""
        who = type(self).__name__
        require_form(who, self.state(), state)
        self.epoch, self.position = (
            integer(who, name, state[name], least=0) for name in ("epoch", "position")
        )
        self._given = 0
