"""Whether MPI takes the arrays of a GPU, as far as it says so itself.

If MPI takes the address of a GPU's array for one in main memory, the process crashes, and nothing
can catch that. So only a clear yes counts.
"""

from __future__ import annotations

import ctypes
import re
from typing import Any

KINDS = "mpi_memory_alloc_kinds"  # of MPI 4.1: the kinds of memory that this communicator takes
OPEN_MPI = 5  # since this version its answer is about what runs, and not about how it was built


def why_not(comm: Any) -> str:
    """Why it is not known that this communicator takes a GPU's arrays; empty if it is.

    Args:
        comm: an mpi4py communicator.
    """
    from mpi4py import MPI

    kinds = _kinds(comm)
    if any(kind == "cuda" or kind.startswith("cuda:device") for kind in kinds):
        return ""
    name = MPI.Get_library_version()
    version = re.match(r"Open MPI v(\d+)", name)
    if version is not None and int(version[1]) >= OPEN_MPI:
        return "" if _open_mpi_says_yes(MPI.__file__) else "Open MPI says that it does not"
    of = f", whose kinds of memory are {', '.join(kinds)}" if kinds else ""
    return f"{name.splitlines()[0].strip()} does not say that it does{of}"


def _kinds(comm: Any) -> list[str]:
    info = comm.Get_info()
    try:
        found = info.Get(KINDS)
    finally:
        info.Free()
    return [] if found is None else [kind.strip() for kind in found.split(",")]


def _open_mpi_says_yes(extension: str) -> bool:
    """The answer of Open MPI's own function, which mpi4py does not have.

    Args:
        extension: the file of mpi4py's module, through which the library is found that it uses.
    """
    try:
        return bool(ctypes.CDLL(extension).MPIX_Query_cuda_support())
    except (OSError, AttributeError):
        return False
