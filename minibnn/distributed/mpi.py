"""mpi4py: imported when it is used, since importing it starts MPI."""

from __future__ import annotations

import importlib
from typing import Any


def mpi4py(who: str) -> Any:
    """The module ``mpi4py.MPI``.

    Args:
        who: needs it; the error begins with this.

    Raises:
        ImportError: without mpi4py, or without a library of MPI; the message says how to install
            both.
    """
    try:
        return importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no library of MPI
        reason = str(error).replace("\n", ": ")
        raise ImportError(
            f'{who} needs mpi4py and a library of MPI ({reason}): pip install "minibnn[mpi]" mpich'
        ) from error
