"""What CuPy has of NCCL, without GPUs: sums over the processes by MPI, of what is at an address."""

from __future__ import annotations

import ctypes
import sys
import types
from typing import Any

import numpy as np

KINDS = {"FLOAT16": 6, "FLOAT32": 7, "FLOAT64": 8, "INT8": 0, "UINT8": 1, "INT32": 2, "UINT32": 3,
         "INT64": 4, "UINT64": 5}  # fmt: skip
SUM = 0
NAME = "strictdev.cuda.nccl"  # where `minibnn.distributed.nccl` looks for it


class NcclCommunicator:
    """Connects as many processes as `size` says, by rank 0's identity."""

    def __init__(self, size: int, identity: bytes, rank: int) -> None:
        from mpi4py import MPI

        self.comm = MPI.COMM_WORLD.Dup()
        assert (size, rank) == (self.comm.size, self.comm.rank)
        assert (type(identity), len(identity)) == (bytes, 128)
        assert len(set(self.comm.allgather(identity))) == 1
        self.streams: list[int] = []

    def allReduce(self, sent: int, received: int, count: int, kind: int, operation: int, stream: int) -> None:  # fmt: skip  # noqa: N802
        assert operation == SUM
        assert sent == received  # in place
        dtype = np.dtype({v: k for k, v in KINDS.items()}[kind].lower())
        a = np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(sent), dtype)
        from mpi4py import MPI

        self.comm.Allreduce(MPI.IN_PLACE, a)
        self.streams.append(stream)


def fake_nccl(**changes: Any) -> types.ModuleType:
    """The module `cupy.cuda.nccl`."""
    nccl = types.ModuleType(NAME)
    vars(nccl).update({f"NCCL_{name}": number for name, number in KINDS.items()})
    identity = np.random.default_rng().bytes(128)
    vars(nccl).update(
        NCCL_SUM=SUM, available=True, get_version=lambda: 22809,
        get_unique_id=lambda: identity, NcclCommunicator=NcclCommunicator,
    )  # fmt: skip
    vars(nccl).update(changes)
    return nccl


def install(nccl: types.ModuleType) -> None:
    """Let the stand-in for CuPy have it."""
    sys.modules[NAME] = nccl
