"""Whether MPI takes the arrays of a GPU: only a clear yes counts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from minibnn.distributed import cuda_aware
from minibnn.distributed.cuda_aware import why_not

MPI = pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))


def comm(kinds):
    """A communicator of an MPI that takes memory of these kinds; None if it does not say."""
    freed = []
    info = SimpleNamespace(
        Get=lambda key: kinds if key == "mpi_memory_alloc_kinds" else None,
        Free=lambda: freed.append(1),
    )
    return SimpleNamespace(Get_info=lambda: info, freed=freed)


def library(monkeypatch, name, answer):
    monkeypatch.setattr(cuda_aware, "_library_version", lambda: name)
    monkeypatch.setattr(
        cuda_aware.ctypes, "CDLL", lambda file: SimpleNamespace(MPIX_Query_cuda_support=answer)
    )


MPICH = "MPICH Version:      5.0.2\nMPICH Release date: Fri Sep 25"


@pytest.mark.parametrize(
    ("kinds", "yes"),
    [
        ("mpi,system,cuda", True),
        ("system, cuda:device", True),
        ("mpi,system,cuda:device:x", True),
        ("mpi,system", False),
        ("mpi,system,cuda:host,cuda:managed", False),  # not what CuPy's arrays are in
        ("mpi,system,rocm,level_zero:device", False),
        (None, False),
    ],
)
def test_the_kinds_of_memory_of_mpi_4_1(kinds, yes, monkeypatch):
    library(monkeypatch, MPICH, lambda: 1)  # whose own answer does not count
    given = comm(kinds)
    said = "MPICH Version: 5.0.2 does not say that it takes the arrays of a GPU"
    assert why_not(given) == ("" if yes else said)
    assert given.freed


@pytest.mark.parametrize(
    ("name", "answer", "yes"),
    [
        ("Open MPI v5.0.11, package: Open MPI user@localhost, ident: 5.0.11", 1, True),
        ("Open MPI v6.1.0, package: x", 1, True),
        ("Open MPI v12.0.0, package: x", 1, True),
        ("Open MPI v5.0.11, package: x", 0, False),
        ("Open MPI v4.1.6, package: x", 1, False),  # its answer is how it was built
        ("Intel(R) MPI Library 2021.19 for Linux* OS", 1, False),
    ],
)
def test_open_mpis_own_answer(name, answer, yes, monkeypatch):
    library(monkeypatch, name, lambda: answer)
    short = name.partition(",")[0]
    said = f"{short} does not say that it takes the arrays of a GPU"
    assert why_not(comm(None)) == ("" if yes else said)


@pytest.mark.parametrize("error", [OSError("no such file"), AttributeError("no such symbol")])
def test_an_open_mpi_without_an_answer(error, monkeypatch):
    def fail(file):
        raise error

    library(monkeypatch, "Open MPI v5.0.11, package: x", None)
    monkeypatch.setattr(cuda_aware.ctypes, "CDLL", fail)
    assert why_not(comm(None))


def test_the_mpi_that_is_here():
    """A wheel's: neither MPICH's nor Open MPI's is built for GPUs, and both can be asked."""
    said = why_not(MPI.COMM_WORLD)
    assert said == "" or MPI.Get_library_version().split()[0] in said
    if MPI.Get_library_version().startswith("Open MPI v5"):
        assert cuda_aware.ctypes.CDLL(MPI.__file__).MPIX_Query_cuda_support() in (0, 1)
