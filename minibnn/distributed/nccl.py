"""Sums by NCCL, NVIDIA's library for the GPUs of one machine and of several.

CuPy's functions for it are called directly: `cupyx.distributed` would bring the ranks together by a
network port of its own, and MPI has done that already.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from minibnn.backend import Array, Backend
from minibnn.distributed.transport import Transport

TYPES = ("float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint32", "uint64")


class Nccl(Transport):
    """Sums that are queued on the GPU's current stream, so that no process waits for them.

    Therefore it is the fastest way for small arrays, too. What NCCL has no type for goes through
    main memory.

    Args:
        comm: an mpi4py communicator; all ranks make this object together.
        backend: of the arrays, on a GPU that no other rank has.

    Raises:
        Exception: what NCCL raises if it cannot connect the GPUs.
    """

    def __init__(self, comm: Any, backend: Backend) -> None:
        super().__init__(comm, backend)
        self._nccl = _nccl(backend)
        found: Any = None
        if comm.rank == 0:
            try:
                found = self._nccl.get_unique_id()
            except Exception as error:  # the others wait for an answer
                found = f"{type(error).__name__}: {error}"
        found = comm.bcast(found)
        if isinstance(found, str):
            raise RuntimeError(found)
        self._communicator = self._nccl.NcclCommunicator(comm.size, found, comm.rank)
        major, rest = divmod(self._nccl.get_version(), 10_000)
        self.words = f"on the GPUs, by NCCL {major}.{rest // 100}.{rest % 100}"

    @staticmethod
    def why_not(comm: Any, backend: Backend) -> str:
        """See `Transport.why_not`."""
        try:
            with warnings.catch_warnings():  # CuPy may warn that it is not there
                warnings.simplefilter("ignore")
                return "" if _nccl(backend).available else "CuPy does not find it"
        except (ImportError, OSError) as error:
            return f"CuPy does not find it ({error})"

    def sum(self, a: Array) -> Array:
        """See `Transport.sum`; the order is NCCL's."""
        kind = str(a.dtype)
        if kind not in TYPES:
            return super().sum(a)
        a = a if a.flags.c_contiguous else self.backend.xp.ascontiguousarray(a)
        stream = self.backend.xp.cuda.get_current_stream().ptr
        number = getattr(self._nccl, f"NCCL_{kind.upper()}")
        self._communicator.allReduce(
            a.data.ptr, a.data.ptr, a.size, number, self._nccl.NCCL_SUM, stream
        )
        return a


def _nccl(backend: Backend) -> Any:
    """CuPy's module for NCCL."""
    return importlib.import_module(f"{backend.xp.__name__}.cuda.nccl")
