"""How a batch is divided among the ranks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Consecutive samples of a batch.

    Attributes:
        number: of the part, from 0; None for a rank that has no sample of this batch. It computes
            the first one, so that it takes part in all sums, and adds nothing to them.
        rows: where its samples are.
        whole: how many samples the batch has.
    """

    number: int | None
    rows: slice
    whole: int

    @property
    def samples(self) -> int:
        """How many samples it has."""
        return int(self.rows.stop - self.rows.start)


@dataclass(frozen=True)
class Division:
    """A batch in parts whose sizes differ by one at most, each rank with consecutive ones.

    Which samples a part has depends on the batch and on the number of parts alone.

    Attributes:
        samples: in the batch.
        parts: into how many it is divided, if it has that many samples.
        ranks: how many processes share them.

    >>> division = Division(samples=10, parts=4, ranks=2)
    >>> [(part.number, part.rows.start, part.rows.stop) for part in division.of_rank(1)]
    [(2, 6, 8), (3, 8, 10)]
    """

    samples: int
    parts: int
    ranks: int

    @property
    def filled(self) -> int:
        """The number of parts that have a sample."""
        return min(self.samples, self.parts)

    def numbers_of(self, rank: int) -> range:
        """The parts of a rank that have a sample."""
        first, stop = (r * self.parts // self.ranks for r in (rank, rank + 1))
        return range(min(first, self.filled), min(stop, self.filled))

    def of_rank(self, rank: int) -> list[Part]:
        """The parts of a rank, at least one."""
        found = [self.part(number) for number in self.numbers_of(rank)]
        return found or [Part(None, slice(0, 1), self.samples)]

    def part(self, number: int) -> Part:
        """The part of this number."""
        size, larger = divmod(self.samples, self.parts)
        first, stop = (n * size + min(n, larger) for n in (number, number + 1))
        return Part(number, slice(first, stop), self.samples)
