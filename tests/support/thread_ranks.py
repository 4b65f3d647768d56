"""Ranks as threads of one process: a communicator with the calls that minibnn makes."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

SECONDS = 30  # nothing here takes a thousandth of it


class Killed(NamedTuple):
    """What is left of a rank that Abort has ended."""

    code: int | None  # of the one that called it


def communicators(size: int) -> list:
    """One for each rank. Skips without mpi4py."""
    mpi = pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))

    class Threads(mpi.Intracomm):
        """Everybody puts something down, waits for the others, and takes what is theirs."""

        def __new__(cls, rank, meeting, places):
            self = super().__new__(cls, mpi.COMM_SELF)
            self.number, self.meeting, self.places = rank, meeting, places
            self.killed, self.ended = None, threading.Event()
            return self

        rank = property(lambda self: self.number)
        size = property(lambda self: len(self.places))

        def Dup(self, info=None):  # noqa: N802
            return self

        def Free(self):  # noqa: N802
            pass

        def exchange(self, given):
            """What each rank has given."""
            try:
                self.places[self.rank] = given
                self.meeting.wait()
                taken = list(self.places)
                self.meeting.wait()
            except threading.BrokenBarrierError:
                self.die(None)
            return taken

        def allgather(self, sendobj):
            return self.exchange(sendobj)

        def bcast(self, obj, root=0):
            return self.exchange(obj)[root]

        def Allreduce(self, sendbuf, recvbuf, op=mpi.SUM):  # noqa: N802
            assert sendbuf is mpi.IN_PLACE
            own = np.array(recvbuf)
            everybody = np.stack(self.exchange(own))
            recvbuf[...] = everybody.max(axis=0) if op == mpi.MAX else everybody.sum(axis=0)

        def Allgatherv(self, sendbuf, recvbuf):  # noqa: N802
            into, counts = recvbuf
            taken = [a.reshape(-1) for a in self.exchange(np.array(sendbuf))]
            assert [a.size for a in taken] == list(counts)
            into.reshape(-1)[...] = np.concatenate(taken)

        def Alltoallv(self, sendbuf, recvbuf):  # noqa: N802
            (sent, counts), (into, expected) = sendbuf, recvbuf
            ends = np.cumsum([0, *counts])
            own = [np.array(sent[a:b]) for a, b in pairwise(ends)]
            taken = [theirs[self.rank] for theirs in self.exchange(own)]
            assert [a.size for a in taken] == list(expected)
            into.reshape(-1)[...] = np.concatenate(taken)

        def Abort(self, errorcode=0):  # noqa: N802
            self.meeting.abort()
            self.die(errorcode)

        def die(self, code):
            """As a process does: no code of this rank runs any more."""
            self.killed = Killed(code)
            self.ended.set()
            threading.Event().wait()

    meeting, places = threading.Barrier(size), [None] * size
    return [Threads(rank, meeting, places) for rank in range(size)]


def on_ranks(size: int, function):
    """Call ``function(comm)`` on each rank; the results in order, or what was raised."""
    comms = communicators(size)
    found = [None] * size

    def work(rank):
        try:
            found[rank] = function(comms[rank])
        except BaseException as error:
            found[rank] = error
        comms[rank].ended.set()

    for rank in range(size):
        threading.Thread(target=work, args=(rank,), daemon=True).start()
    for comm in comms:
        assert comm.ended.wait(SECONDS), f"rank {comm.rank} hangs"
    return [comm.killed or its for comm, its in zip(comms, found, strict=True)]
