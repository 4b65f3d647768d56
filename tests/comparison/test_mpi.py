"""Runs in the processes that mpirun starts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from fuzz_kills import descendants, gone, kill_and_resume, master, rows, start, words, workers
from recipes_to_send import own_recipe

from minibnn.__main__ import main
from minibnn.comparison import mpi
from minibnn.comparison.grid import Entry, Run

RUNS = [Run(number, Entry(), number) for number in range(4)]


@pytest.fixture(scope="module")
def mpirun():
    """How to start so many processes."""
    pytest.importorskip("mpi4py.futures", exc_type=(ImportError, RuntimeError))
    if shutil.which("mpirun") is None:
        pytest.skip("no mpirun")
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("looks into /proc")
    with pytest.MonkeyPatch.context() as patch:
        # What Open MPI asks for; MPICH does not read it.
        for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
            patch.setenv(name, "1")
        patch.setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
        code = "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"
        done = subprocess.run(
            ["mpirun", "-n", "2", sys.executable, "-c", code], capture_output=True, text=True
        )
        if "".join(done.stdout.split()) != "22":  # lines may be mixed
            pytest.skip(f"mpirun and mpi4py are of two kinds of MPI: {done.stdout}{done.stderr}")
        yield lambda number: ["mpirun", "-n", str(number)]


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """A recipe whose runs take a while, and a serial comparison."""
    folder = tmp_path_factory.mktemp("serial")
    slow = own_recipe(folder, seconds=0.2)
    assert main(words(folder / "out", runs=8, recipe=slow)) == 0
    return folder / "out", slow


def test_killed_at_some_moments_it_ends_with_the_serial_rows(mpirun, serial, tmp_path):
    expected, slow = serial
    out = tmp_path / "out"
    plan = [(1, "worker"), (2, "master"), (4, "worker")]
    codes, left = kill_and_resume(
        out, words(out, "--distributed", runs=8, recipe=slow), plan, launcher=mpirun(3)
    )
    assert codes[0] in (9, 137)  # of MPICH and of Open MPI
    assert codes[1:] in ([1, 0], [0])  # the last one may have been killed between two runs
    assert left == []
    assert rows(out) == rows(expected)
    assert (out / "table.txt").read_text() == (expected / "table.txt").read_text()


def test_one_process_is_enough(mpirun, serial, tmp_path):
    expected, slow = serial
    out = tmp_path / "out"
    process = start(words(out, "--distributed", runs=8, recipe=slow), mpirun(1))
    said = process.communicate(timeout=100)
    assert process.returncode == 0, said
    assert said[0] == (expected / "table.txt").read_text()
    assert said[1].startswith("1 job at a time: 1 on ")
    assert rows(out) == rows(expected)


def test_sigterm_ends_all_processes(mpirun, tmp_path):
    slow = own_recipe(tmp_path, seconds=60)
    process = start(words(tmp_path / "out", "--distributed", recipe=slow), mpirun(2))
    while len(workers(process.pid)) < 2 or not (tmp_path / "threads").exists():
        assert process.poll() is None
    everything = [process.pid, *descendants(process.pid)]
    os.kill(master(process.pid), signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert "interrupted; no run was finished" in said
    assert "Traceback" not in said
    assert gone(everything) == []


def test_an_error_before_the_first_run_ends_all_processes(mpirun, tmp_path):
    process = start(words(tmp_path / "out", "--distributed", "--held-out", "0"), mpirun(2))
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert said.count("error: validation_split: expected count from 1") == 1


def test_rank_0_trains_too_and_gives_others_what_it_has_no_process_for():
    here, there = [], []

    def submit(to):
        def submit(run):
            to.append((run.number, Future()))
            return to[-1][1]

        return submit

    give = mpi._whoever_is_free(submit(here), submit(there))
    give(RUNS[0])
    give(RUNS[1])
    here[0][1].set_result({})
    give(RUNS[2])
    give(RUNS[3])
    assert [number for number, _ in here] == [0, 2]
    assert [number for number, _ in there] == [1, 3]


@pytest.mark.parametrize(
    ("mine", "others", "each"),
    [
        ({0, 1, 2, 3}, [{0, 1, 2, 3}], 4),
        ({0, 1, 2, 3}, [{0, 1, 2, 3}] * 2, 2),
        ({0, 1}, [{0, 1}, {2, 3}], 2),  # Open MPI gives each rank processors of its own
        ({0}, [{0}, {0}, {0}], 1),
    ],
)
def test_the_ranks_on_the_same_processors_share_them(monkeypatch, mine, others, each):
    monkeypatch.setattr(mpi, "processors", lambda: mine)
    monkeypatch.setattr(mpi, "threads_each", lambda processes: len(mine) // processes or 1)
    assert mpi._threads_here(SimpleNamespace(allgather=lambda own: others)) == each


def test_machines_are_named_with_their_threads():
    comm = SimpleNamespace(size=3)
    places = [("one", 4), ("two", 2), ("one", 4)]
    jobs = mpi.MPIJobs(comm, None, places)
    assert (jobs.number, jobs.threads) == (3, 4)
    assert str(jobs) == (
        "3 jobs at a time: 2 on one, BLAS threads of each: 4; 1 on two, BLAS threads of each: 2"
    )


def test_mpi_without_threads_is_refused(monkeypatch):
    without = SimpleNamespace(Query_thread=lambda: 0, THREAD_MULTIPLE=3)
    monkeypatch.setattr(mpi, "mpi4py", lambda who: without)
    with pytest.raises(ImportError, match="expected MPI with threads"), mpi.mpi_jobs():
        pass
