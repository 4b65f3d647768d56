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
    if any(kind == "cuda" or kind.startswith("cuda:device") for kind in _kinds(comm)):
        return ""
    name = " ".join(re.split(r"[\n,]", _library_version())[0].split())
    version = re.match(r"Open MPI v(\d+)", name)
    if version is not None and int(version[1]) >= OPEN_MPI and _open_mpi_says_yes():
        return ""
    return f"{name} does not say that it takes the arrays of a GPU"


def _kinds(comm: Any) -> list[str]:
    info = comm.Get_info()
    try:
        found = info.Get(KINDS)
    finally:
        info.Free()
    return [] if found is None else [kind.strip() for kind in found.split(",")]


def _library_version() -> str:
    from mpi4py import MPI

    name: str = MPI.Get_library_version()
    return name


def _open_mpi_says_yes() -> bool:
    """The answer of Open MPI's own function, which mpi4py does not have."""
    from mpi4py import MPI

    try:
        # In the file of mpi4py's module, its library's functions are found, too.
        return bool(ctypes.CDLL(MPI.__file__).MPIX_Query_cuda_support())
    except (OSError, AttributeError):
        return False
