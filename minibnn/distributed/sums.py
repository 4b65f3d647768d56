"""Sums over the ranks: in MPI's own order, or in a fixed one.

Both take arrays of any device; see `transport`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from minibnn.backend import Array
from minibnn.distributed.parts import Division
from minibnn.distributed.transport import Transport
from minibnn.distributed.tree import Node, add_up, nodes_inside
from minibnn.distributed.watch import Watch

SMALL = 2**16  # bytes; below, one message to everybody beats two with a share each


class Sums(Protocol):
    """Adds up arrays of one shape and dtype, one for each part of a batch."""

    def add_up(self, division: Division, arrays: Mapping[int, Array], like: Array) -> Array:
        """The sum over all parts, the same on all ranks.

        Args:
            division: of the batch.
            arrays: of this rank's parts, by their numbers; none for a rank without samples. They
                may be overwritten.
            like: an array of this shape and dtype.
        """


class FastSums:
    """By MPI's Allreduce, whose order of additions depends on the number of ranks.

    Each rank has one part.
    """

    def __init__(self, comm: Any, watch: Watch) -> None:
        self.comm = comm
        self.watch = watch
        self.transport = Transport(comm)

    def add_up(self, division: Division, arrays: Mapping[int, Array], like: Array) -> Array:
        """See `Sums`."""
        (a,) = arrays.values() if arrays else (like * 0,)
        if not arrays:
            a[...] = 0  # also for what was not finite
        if self.comm.size == 1:
            return a
        with self.watch("adding up", a.nbytes):
            return self.transport.sum(a)


class ExactSums:
    """In the order of `tree`, so that the number of ranks changes no bit.

    Each rank adds up the nodes inside its parts. Of a small array, everybody then gets all nodes,
    and goes on to the root. Of a large one, each rank gets all nodes for a share of the values, and
    sends their sum to all others: as many bytes as in the usual algorithms, if a rank's parts are
    one node (with 8 parts: for 1, 2, 4 and 8 ranks).
    """

    def __init__(self, comm: Any, watch: Watch) -> None:
        self.comm = comm
        self.watch = watch
        self.transport = Transport(comm)

    def add_up(self, division: Division, arrays: Mapping[int, Array], like: Array) -> Array:
        """See `Sums`."""
        root = (0, division.filled)
        known = {(number, number + 1): a for number, a in arrays.items()}
        if self.comm.size == 1:
            return add_up(root, known)
        nodes = [self._nodes(division, rank) for rank in range(self.comm.size)]
        own = [self.transport.out(add_up(node, known)) for node in nodes[self.comm.rank]]
        shape, dtype = like.shape, like.dtype
        exchange = self._of_small if like.nbytes <= SMALL else self._of_large
        flat = exchange(nodes, [np.reshape(a, -1) for a in own], root, like.size, dtype)
        return self.transport.back(flat.reshape(shape), like)

    def _nodes(self, division: Division, rank: int) -> list[Node]:
        own = division.numbers_of(rank)
        return nodes_inside(own.start, own.stop, division.filled)

    def _of_small(
        self, nodes: list[list[Node]], own: Sequence[Any], root: Node, size: int, dtype: Any
    ) -> Any:
        counts = [len(its) * size for its in nodes]
        everything = np.empty((sum(map(len, nodes)), size), dtype)
        sent = np.stack(own) if own else np.empty(0, dtype)
        with self.watch("adding up", sent.nbytes):
            self.comm.Allgatherv(sent, [everything, counts])
        return add_up(root, dict(zip(_flat(nodes), everything, strict=True)))

    def _of_large(
        self, nodes: list[list[Node]], own: Sequence[Any], root: Node, size: int, dtype: Any
    ) -> Any:
        ranks, rank = self.comm.size, self.comm.rank
        ends = [r * size // ranks for r in range(ranks + 1)]
        shares = [ends[r + 1] - ends[r] for r in range(ranks)]
        sent = np.empty(len(own) * size, dtype)
        for r in range(ranks):
            place = sent[len(own) * ends[r] : len(own) * ends[r + 1]].reshape(len(own), shares[r])
            for row, a in zip(place, own, strict=True):
                row[...] = a[ends[r] : ends[r + 1]]
        received = np.empty((sum(map(len, nodes)), shares[rank]), dtype)
        total = np.empty(size, dtype)
        with self.watch("adding up", sent.nbytes):
            self.comm.Alltoallv(
                [sent, [len(own) * share for share in shares]],
                [received, [len(its) * shares[rank] for its in nodes]],
            )
        mine = add_up(root, dict(zip(_flat(nodes), received, strict=True)))
        with self.watch("adding up", mine.nbytes):
            self.comm.Allgatherv(np.ascontiguousarray(mine), [total, shares])
        return total


def _flat(nodes: list[list[Node]]) -> list[Node]:
    return [node for its in nodes for node in its]
