"""How arrays get into messages: through main memory, or by an MPI that takes those of a GPU."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from minibnn.backend import Array, Backend
from minibnn.distributed.cuda_aware import why_not


class Transport:
    """Messages from main memory. The arrays of a device are copied there and back.

    Args:
        comm: an mpi4py communicator.
        backend: of the arrays.

    Attributes:
        xp: the module of the arrays in messages.
        words: where sums are computed, for the log.
    """

    def __init__(self, comm: Any, backend: Backend) -> None:
        self.comm = comm
        self.backend = backend
        self.xp: ModuleType = np
        self.words = "through main memory"

    @staticmethod
    def why_not(comm: Any, backend: Backend) -> str:
        """Why it cannot be used in this process; empty if it can."""
        return ""

    def out(self, a: Array) -> Array:
        """An array for a message: contiguous, and of `xp`; of a device's, this waits for it."""
        return np.require(self.backend.to_host(a), requirements=("C", "W"))

    def ready(self) -> None:
        """Wait until the arrays that `out` gave, and what was made of them, are computed."""

    def back(self, a: Array) -> Array:
        """What was received, as an array of the backend."""
        return self.backend.asarray(a)

    def sum(self, a: Array) -> Array:
        """The sum over all ranks, in MPI's order; `a` may be overwritten."""
        from mpi4py import MPI

        sent = self.out(a)
        self.ready()
        self.comm.Allreduce(MPI.IN_PLACE, sent)
        return self.back(sent)


class CudaAware(Transport):
    """Messages from a GPU's memory, by an MPI that was built for them."""

    def __init__(self, comm: Any, backend: Backend) -> None:
        super().__init__(comm, backend)
        self.xp = backend.xp
        self.words = "on the GPUs, by MPI"

    @staticmethod
    def why_not(comm: Any, backend: Backend) -> str:
        """See `Transport.why_not`."""
        return why_not(comm)

    def out(self, a: Array) -> Array:
        """See `Transport.out`; this waits for nothing."""
        return a if a.flags.c_contiguous else self.xp.ascontiguousarray(a)

    def ready(self) -> None:
        """See `Transport.ready`: MPI knows nothing of CUDA's streams."""
        self.xp.cuda.get_current_stream().synchronize()

    def back(self, a: Array) -> Array:
        """See `Transport.back`."""
        return a
