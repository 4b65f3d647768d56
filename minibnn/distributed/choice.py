"""Which transport the ranks use for the arrays of a device: all of them the same one."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from minibnn.backend import Array, Backend, backend_of
from minibnn.distributed.nccl import Nccl
from minibnn.distributed.transport import CudaAware, Transport
from minibnn.distributed.watch import Watch

KINDS: dict[str, type[Transport]] = {"nccl": Nccl, "mpi": CudaAware, "host": Transport}
SUMS = ("nccl", "mpi", "host")  # the fastest first
MESSAGES = ("mpi", "host")  # of arrays that are not added up on the way
VARIABLE = "MINIBNN_RANKS"


class Transports:
    """The transport for each device.

    Args:
        comm: an mpi4py communicator.
        watch: ends this process if another one does not take part in a choice.
        kinds: the names of those that could be used, the best first.
    """

    def __init__(self, comm: Any, watch: Watch, kinds: Sequence[str]) -> None:
        self.comm = comm
        self.watch = watch
        self.kinds = kinds
        self._found: dict[Backend, Transport] = {}

    def of(self, a: Array) -> Transport:
        """The transport for arrays like this one; all ranks ask at the same time."""
        backend = backend_of(a)
        if backend not in self._found:
            if backend.host:
                self._found[backend] = Transport(self.comm, backend)
            else:
                with self.watch("choosing how to add up"):
                    self._found[backend] = choose(self.comm, backend, self.kinds)
        return self._found[backend]


def choose(comm: Any, backend: Backend, kinds: Sequence[str]) -> Transport:
    """The first transport that works on all ranks; every rank calls it.

    Rank 0's environment variable MINIBNN_RANKS may name one of `kinds`. Then this one has to work,
    and for ``mpi``, MPI is not asked whether it takes a GPU's arrays.

    Args:
        comm: an mpi4py communicator.
        backend: of the arrays, not the host's.
        kinds: their names, the best first.

    Raises:
        ValueError: for another name in the variable.
        RuntimeError: if what it names does not work.
    """
    wanted = comm.bcast(os.environ.get(VARIABLE) or None)
    if wanted is not None and wanted not in kinds:
        raise ValueError(f"{VARIABLE}: expected {' or '.join(kinds)}, got {wanted!r}")
    shared = _sharing(comm.allgather(_gpu(backend)))
    refused: list[str] = []
    reason = ""
    for kind in kinds if wanted is None else (wanted,):
        known = shared if kind == "nccl" else ""
        found, reason = _tried(comm, backend, kind, known, ask=wanted != "mpi")
        if found is not None:
            if comm.rank == 0:
                import logging

                because = f" ({'; '.join(refused)})" if refused else ""
                text = f"{comm.size} ranks add up {found.words}{because}"
                logging.getLogger("minibnn").info(text)
            return found
        refused.append(f"not by {kind}: {reason}")
    raise RuntimeError(f"{VARIABLE}: expected {wanted} to work, got {reason}; unset {VARIABLE}")


def _tried(
    comm: Any, backend: Backend, kind: str, why_not: str, *, ask: bool
) -> tuple[Transport | None, str]:
    """A transport, if it works on all ranks, or why it does not."""
    if ask and not why_not:
        why_not = KINDS[kind].why_not(comm, backend)
    reason = _said(comm.allgather(why_not))
    if reason:
        return None, reason
    found, error = None, ""
    try:
        found = KINDS[kind](comm, backend)
        total = found.sum(backend.xp.ones(3, np.float32))
        if backend.to_host(total).tolist() != [comm.size] * 3:
            error = f"ones of {comm.size} ranks add up to {backend.to_host(total)}"
    except Exception as failure:  # CuPy, NCCL and MPI have errors of their own
        error = f"{type(failure).__name__}: {failure}"
    reason = _said(comm.allgather(error))
    return (None, reason) if reason else (found, "")


def _said(reasons: Sequence[str]) -> str:
    """The first reason of any rank, and whose it is, if others have another; empty if none has."""
    for rank, text in enumerate(reasons):
        if text:
            return text if len(set(reasons)) == 1 else f"{text}, on rank {rank}"
    return ""


def _gpu(backend: Backend) -> tuple[str, str]:
    """Which GPU of which machine this process has."""
    from mpi4py import MPI

    runtime = backend.xp.cuda.runtime
    return MPI.Get_processor_name(), runtime.deviceGetPCIBusId(runtime.getDevice())


def _sharing(gpus: Sequence[tuple[str, str]]) -> str:
    """Which ranks have one GPU together, which NCCL refuses; empty if none."""
    ranks = defaultdict(list)
    for rank, gpu in enumerate(gpus):
        ranks[gpu].append(rank)
    shared = next((its for its in ranks.values() if len(its) > 1), None)
    return "" if shared is None else f"ranks {', '.join(map(str, shared))} share one GPU"
