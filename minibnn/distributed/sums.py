"""Sums over the ranks: in the order of MPI or NCCL, or in a fixed one.

Both take arrays of any device; see `choice`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from minibnn.backend import Array, backend_of
from minibnn.distributed.choice import MESSAGES, SUMS, Transports
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
    """By an Allreduce of MPI or NCCL, whose order of additions depends on the number of ranks.

    Each rank has one part.
    """

    def __init__(self, comm: Any, watch: Watch) -> None:
        self.comm = comm
        self.watch = watch
        self.transports = Transports(comm, watch, SUMS)

    def add_up(self, division: Division, arrays: Mapping[int, Array], like: Array) -> Array:
        """See `Sums`."""
        (a,) = arrays.values() or (backend_of(like).xp.zeros_like(like),)
        if self.comm.size == 1:
            return a
        transport = self.transports.of(a)
        with self.watch("adding up", a.nbytes):
            return transport.sum(a)


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
        self.transports = Transports(comm, watch, MESSAGES)

    def add_up(self, division: Division, arrays: Mapping[int, Array], like: Array) -> Array:
        """See `Sums`."""
        root = (0, division.filled)
        known = {(number, number + 1): a for number, a in arrays.items()}
        if self.comm.size == 1:
            return add_up(root, known)
        transport = self.transports.of(like)
        nodes = [self._nodes(division, rank) for rank in range(self.comm.size)]
        own = [transport.out(add_up(node, known)).reshape(-1) for node in nodes[self.comm.rank]]
        exchange = self._of_small if like.nbytes <= SMALL else self._of_large
        flat = exchange(transport, nodes, own, root, like.size, like.dtype)
        return transport.back(flat.reshape(like.shape))

    def _nodes(self, division: Division, rank: int) -> list[Node]:
        own = division.numbers_of(rank)
        return nodes_inside(own.start, own.stop, division.filled)

    def _of_small(
        self,
        transport: Transport,
        nodes: list[list[Node]],
        own: list[Array],
        root: Node,
        size: int,
        dtype: Any,
    ) -> Array:
        xp = transport.xp
        counts = [len(its) * size for its in nodes]
        everything = xp.empty((sum(map(len, nodes)), size), dtype)
        sent = xp.stack(own) if own else xp.empty(0, dtype)
        transport.ready()
        with self.watch("adding up", sent.nbytes):
            self.comm.Allgatherv(sent, [everything, counts])
        return add_up(root, dict(zip(_flat(nodes), everything, strict=True)))

    def _of_large(
        self,
        transport: Transport,
        nodes: list[list[Node]],
        own: list[Array],
        root: Node,
        size: int,
        dtype: Any,
    ) -> Array:
        xp = transport.xp
        ranks, rank = self.comm.size, self.comm.rank
        ends = [r * size // ranks for r in range(ranks + 1)]
        shares = [ends[r + 1] - ends[r] for r in range(ranks)]
        sent = xp.empty(len(own) * size, dtype)
        for r in range(ranks):
            place = sent[len(own) * ends[r] : len(own) * ends[r + 1]].reshape(len(own), shares[r])
            for row, a in zip(place, own, strict=True):
                row[...] = a[ends[r] : ends[r + 1]]
        received = xp.empty((sum(map(len, nodes)), shares[rank]), dtype)
        total = xp.empty(size, dtype)
        transport.ready()
        with self.watch("adding up", sent.nbytes):
            self.comm.Alltoallv(
                [sent, [len(own) * share for share in shares]],
                [received, [len(its) * shares[rank] for its in nodes]],
            )
        mine = add_up(root, dict(zip(_flat(nodes), received, strict=True)))
        mine = xp.ascontiguousarray(mine)
        transport.ready()
        with self.watch("adding up", mine.nbytes):
            self.comm.Allgatherv(mine, [total, shares])
        return total


def _flat(nodes: list[list[Node]]) -> list[Node]:
    return [node for its in nodes for node in its]
