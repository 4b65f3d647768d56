"""How arrays get into messages: from main memory; from a GPU by the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array, backend_of


class Transport:
    """Takes arrays of any device to messages, and back.

    Args:
        comm: an mpi4py communicator.
    """

    def __init__(self, comm: Any) -> None:
        self.comm = comm

    def out(self, a: Array) -> Any:
        """An array in main memory; on a device this waits for it."""
        return np.ascontiguousarray(backend_of(a).to_host(a))

    def back(self, a: Any, like: Array) -> Array:
        """A host array on the device of another one."""
        return backend_of(like).asarray(a)

    def sum(self, a: Array) -> Array:
        """The sum over all ranks, in MPI's order; `a` may be overwritten."""
        from mpi4py import MPI

        host = self.out(a)
        if not host.flags.writeable:
            host = host.copy()
        self.comm.Allreduce(MPI.IN_PLACE, host)
        return self.back(host.reshape(a.shape), a)
