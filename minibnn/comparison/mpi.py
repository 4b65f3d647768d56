"""Runs on several machines: the processes that ``mpirun`` starts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from minibnn.comparison.grid import Row, Run
from minibnn.comparison.jobs import Processes, Submit, at_a_time, processors, threads_each
from minibnn.comparison.worker import SIGNALS, Worker
from minibnn.distributed.mpi import mpi4py

WHO = "compare --distributed"


@contextmanager
def mpi_jobs() -> Iterator[MPIJobs | None]:
    """A context with all processes that ``mpirun`` started, for `compare`; all of them enter it.

    .. code-block:: python

        with mpi_jobs() as jobs:
            if jobs is not None:  # in the process of rank 0
                compare(..., jobs=jobs)

    In the others it trains what rank 0 gives them, and returns None when there is nothing left.

    Raises:
        ImportError: without mpi4py, or if its library of MPI does not allow threads.
    """
    mpi = mpi4py(WHO)
    if mpi.Query_thread() < mpi.THREAD_MULTIPLE:
        raise ImportError(
            f"{WHO}: expected MPI with threads, MPI_THREAD_MULTIPLE, got less; unset "
            "MPI4PY_RC_THREAD_LEVEL and MPI4PY_RC_THREADS, or use another library of MPI"
        )
    comm, ending = mpi.COMM_WORLD.Dup(), mpi.COMM_WORLD.Dup()
    threads = _threads_here(comm.Split_type(mpi.COMM_TYPE_SHARED))
    places = comm.gather((mpi.Get_processor_name(), threads))
    if comm.rank:
        _serve(comm, ending, threads)
        yield None
        return
    jobs = MPIJobs(comm, ending, places)
    try:
        yield jobs
    finally:
        jobs.end()


class MPIJobs:
    """The processes of ``mpirun``, seen from that of rank 0; see `minibnn.comparison.jobs.Pool`.

    Each rank trains in a process of its own that it starts, rank 0 too, whose own process gives out
    the runs and collects the rows. So a training that the system kills for its memory ends one run,
    and not, as the end of a rank would, all of them.

    Args:
        comm: a communicator of all ranks.
        ending: another one, with a barrier that rank 0 enters when all is over.
        places: of each rank, the name of its machine and the number of its BLAS threads.
    """

    def __init__(self, comm: Any, ending: Any, places: list[tuple[str, int]]) -> None:
        self.number: int = comm.size
        self.threads = places[0][1]
        self._comm = comm
        self._ending = ending
        self._places = places
        self._begun = False

    def __str__(self) -> str:
        machines: dict[str, list[int]] = {}
        for machine, threads in self._places:
            machines.setdefault(machine, []).append(threads)
        each = [
            f"{len(threads)} on {machine}, BLAS threads of each: "
            + ", ".join(map(str, sorted(set(threads))))
            for machine, threads in machines.items()
        ]
        return f"{at_a_time(self.number)}: {'; '.join(each)}"

    @contextmanager
    def begin(self, payload: bytes) -> Iterator[Submit]:
        """See `minibnn.comparison.jobs.Pool`."""
        with Processes(1, self.threads).begin(payload) as here:
            if self.number == 1:
                yield here
                return
            from mpi4py.futures import MPICommExecutor

            self._begun = True
            self._comm.bcast(payload)
            executor: Any = MPICommExecutor(self._comm)
            with executor as there:
                try:
                    yield _whoever_is_free(here, lambda run: there.submit(_train, run))
                finally:
                    over = self._ending.Ibarrier()  # the others give up what they train
            over.Wait()

    def end(self) -> None:
        """Tell the other ranks that there is nothing to do, if they still wait for it."""
        if not self._begun:
            self._comm.bcast(None)


def _whoever_is_free(here: Submit, there: Submit) -> Submit:
    """Give a run to this rank's process unless that is busy, else to the others."""
    own: Future[Row] | None = None

    def submit(run: Run) -> Future[Row]:
        nonlocal own
        if own is None or own.done():
            own = here(run)
            return own
        return there(run)

    return submit


def _threads_here(machine: Any) -> int:
    """The number of BLAS threads of this rank, whose processors other ranks may use, too.

    Args:
        machine: the communicator of the ranks on this machine.
    """
    mine = processors()
    return threads_each(sum(bool(mine & others) for others in machine.allgather(mine)))


# --- on the other ranks ---------------------------------------------------------------------------

_here: tuple[Worker, Callable[[], bool]] | None = None  # this rank's, while it serves


def _serve(comm: Any, ending: Any, threads: int) -> None:
    """Train what rank 0 submits, until it says that all is over."""
    global _here
    for number in SIGNALS:  # rank 0 gets them, too, and says what to do
        signal.signal(number, signal.SIG_IGN)
    payload = comm.bcast(None)
    if payload is None:
        return
    from mpi4py.futures import MPICommExecutor

    worker, over = Worker(payload, threads), ending.Ibarrier()
    _here = worker, over.Test
    with MPICommExecutor(comm):
        pass  # returns when rank 0 leaves its own
    worker.kill()
    worker.join()
    over.Wait()


def _train(run: Run) -> Row:
    if _here is None:
        raise RuntimeError("only a rank that serves can train")
    worker, over = _here
    return worker.run(run, over)
