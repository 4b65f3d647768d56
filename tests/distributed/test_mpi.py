"""mpi4py, and its absence."""

from __future__ import annotations

import sys

import pytest

from minibnn.distributed.mpi import mpi4py


def test_mpi4py_is_found():
    MPI = pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
    assert mpi4py("this test") is MPI


@pytest.mark.parametrize("missing", ["mpi4py", "mpi4py.MPI"])
def test_without_mpi4py_the_error_says_what_to_install(monkeypatch, missing):
    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r'^--distributed needs .*pip install "minibnn\[mpi\]"'):
        mpi4py("--distributed")


def test_mpi4py_without_a_library_of_mpi(monkeypatch):
    def no_library(name):
        raise RuntimeError("cannot load MPI library\nlibmpi.so: no such file")

    monkeypatch.setattr("importlib.import_module", no_library)
    with pytest.raises(ImportError, match=r"\(cannot load MPI library: libmpi.so: no such file\)"):
        mpi4py("--distributed")
