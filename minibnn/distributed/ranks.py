"""The processes of a training, and how they agree."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeAlias

import numpy as np

from minibnn.backend import DeviceError
from minibnn.backend.gpus import divide_gpus
from minibnn.checks import integer, number
from minibnn.distributed.alike import require_alike
from minibnn.distributed.mpi import mpi4py
from minibnn.distributed.parts import Division
from minibnn.distributed.sums import ExactSums, FastSums, Sums
from minibnn.distributed.watch import Watch
from minibnn.signals import INTERRUPTED

Mode: TypeAlias = Literal["sum", "exact"]
MICRO_BATCHES = 8
TIMEOUT = 300.0  # seconds
FAILED = 1  # the exit code of all ranks if one raises


# An error's exit code, and what to say of it.
Tell: TypeAlias = "Callable[[BaseException], tuple[int, str]]"


def with_traceback(error: BaseException) -> tuple[int, str]:
    """Exit code 1, or that of a signal or `sys.exit`, and the traceback of an error."""
    if isinstance(error, SystemExit):  # never 0: the others have not finished
        code = error.code if isinstance(error.code, int) else FAILED
        return code or FAILED, f"ended with {error.code}"
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "ended by Ctrl-C"
    import traceback

    return FAILED, "".join(traceback.format_exception(error)).rstrip()


class Ranks:
    """The processes of a training, each of which is a *rank*, and how their sums are computed.

    .. code-block:: text

        mpirun -n 4 python script.py        with fit(..., comm=Ranks("exact")) in it

    Every rank runs the whole script, with the same data and seeds, and computes its part of each
    batch. All have the same model at all times.

    On GPUs, make it before anything asks for the GPU: it gives each rank of a machine a GPU of its
    own, the first one to the first rank. (If `comm` is only a part of all processes, it leaves that
    to you and CUDA_VISIBLE_DEVICES.) In ``"sum"`` mode NCCL adds up, if CuPy finds it; otherwise,
    and in ``"exact"`` mode, messages go from GPU to GPU if MPI says that it can do that, else
    through main memory. The logger ``minibnn`` says which, at level INFO. The environment variable
    MINIBNN_RANKS chooses: ``nccl``, ``mpi`` or ``host``.

    Args:
        mode: ``"sum"``: gradients are added up by an Allreduce: the fastest way, whose last bits
            depend on the number of ranks. ``"exact"``: each batch is divided into `micro_batches`
            parts, whatever the number of ranks, and every sum over the batch is computed over these
            in a fixed order, with one BLAS thread. Any number of ranks up to `micro_batches` gives
            the same bytes. It is slower; ``docs/guides/several-machines.md`` says how much.
        comm: an mpi4py communicator; None for all processes that ``mpirun`` started.
        micro_batches: for ``"exact"``, at least the number of ranks. Another number gives other
            last bits, so it is a part of the job, as the batch size is.
        batch_norm: ``"batch"``: means and variances are over the whole batch, as on one process.
            ``"part"``: over each part alone, so that nothing is exchanged in the middle of a step;
            then the result depends on the number of parts. The running statistics are averaged.
        timeout: how many seconds a rank waits for others before it ends itself with exit code 75.

    Attributes:
        rank: the number of this process, from 0; rank 0 writes files and shows progress.
        size: how many there are.

    Raises:
        ImportError: without mpi4py.
        ValueError: for another mode, or more ranks than micro-batches.
        DeviceError: if the GPU was opened before, and it is another rank's.
        TypeError: for a `comm` that is no communicator.
    """

    def __init__(
        self,
        mode: Mode = "sum",
        comm: Any = None,
        *,
        micro_batches: int = MICRO_BATCHES,
        batch_norm: Literal["batch", "part"] = "batch",
        timeout: float = TIMEOUT,
    ) -> None:
        mpi = mpi4py("Ranks")
        if mode not in ("sum", "exact"):
            raise ValueError(f'Ranks: expected mode "sum" or "exact", got {mode!r}')
        if batch_norm not in ("batch", "part"):
            raise ValueError(f'Ranks: expected batch_norm "batch" or "part", got {batch_norm!r}')
        comm = mpi.COMM_WORLD if comm is None else comm
        if not isinstance(comm, mpi.Intracomm):
            raise TypeError(
                f"Ranks: expected comm to be a communicator of mpi4py, got {type(comm).__name__}; "
                "leave it out for all processes of mpirun"
            )
        micro_batches = integer("Ranks", "micro_batches", micro_batches, least=1)
        if mode == "exact" and comm.size > micro_batches:
            raise ValueError(
                f"Ranks: expected at most {micro_batches} ranks, one for each micro-batch, got "
                f"{comm.size}; start fewer, or pass micro_batches={comm.size} (another number "
                "gives other last bits)"
            )
        timeout = number("Ranks", "timeout", timeout)
        if not timeout > 0:
            raise ValueError(f"Ranks: expected a positive timeout in seconds, got {timeout}")
        self._mpi = mpi
        self._tell: Tell = with_traceback
        self.mode: Mode = mode
        self.micro_batches = micro_batches
        self.batch_norm = batch_norm
        self.timeout = float(timeout)
        self.rank: int = comm.rank
        self.size: int = comm.size
        self.watch = Watch(f"rank {self.rank} of {self.size}", self.timeout, comm.Abort)
        with self.watch("meeting them"):  # one of them may have failed before it comes here
            self.comm = comm.Dup()  # the user's own messages do not meet these
            if comm.size == mpi.COMM_WORLD.size:
                _divide_gpus(self.comm, mpi.COMM_TYPE_SHARED)
        sums = ExactSums if self.exact else FastSums
        self.sums: Sums = sums(self.comm, self.watch)

    def __repr__(self) -> str:
        of = f", micro_batches={self.micro_batches}" if self.exact else ""
        return f"Ranks({self.mode!r}, rank={self.rank}, size={self.size}{of})"

    def close(self) -> None:
        """Give the communicator back to MPI, which has a limited number; all ranks call it."""
        self.watch.close()
        self.comm.Free()

    @property
    def exact(self) -> bool:
        """Whether the number of ranks changes no bit."""
        return self.mode == "exact"

    @property
    def first(self) -> bool:
        """Whether this rank writes files and shows progress."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other rank."""
        return self.size == 1

    def division(self, samples: int) -> Division:
        """How a batch of so many samples is divided."""
        parts = self.micro_batches if self.exact else self.size
        return Division(samples, parts, self.size)

    def describe(self) -> dict[str, Any]:
        """What of it decides a training's result, for checkpoints."""
        found: dict[str, Any] = {"mode": self.mode, "batch_norm": self.batch_norm}
        if self.exact:
            found["micro_batches"] = self.micro_batches
        return found

    def greatest(self, *numbers: float, what: str = "agreeing to go on") -> list[float]:
        """Of each number, the greatest on any rank; every rank calls it."""
        if self.alone:
            return list(numbers)
        given = np.array(numbers, np.float64)
        with self.watch(what):
            self.comm.Allreduce(self._mpi.IN_PLACE, given, self._mpi.MAX)
        return [float(value) for value in given]

    def from_first(self, value: Any, what: str) -> Any:
        """Rank 0's value; every rank calls it."""
        if self.alone:
            return value
        with self.watch(what):
            return self.comm.bcast(value)

    def of_all(self, value: Any, what: str) -> list[Any]:
        """The values of all ranks; every rank calls it."""
        if self.alone:
            return [value]
        with self.watch(what):
            return list(self.comm.allgather(value))

    def in_turn(self, rows: Any) -> Any:
        """Rows that the ranks have computed in turn, row i on rank i modulo `size`, as one array.

        Shapes: rows (own, values); the result (all, values).
        """
        parts = self.of_all(rows, "evaluating")
        together = np.empty((sum(map(len, parts)), max(part.shape[1] for part in parts)))
        for rank, part in enumerate(parts):
            if len(part):
                together[rank :: self.size] = part
        return together

    def require_alike(self, who: str, facts: Mapping[str, str], hint: str) -> None:
        """Raise RanksDifferError, on all ranks, unless they have the same facts."""
        require_alike(who, self.of_all(dict(facts), "comparing the ranks"), hint)

    def one_thread(self) -> AbstractContextManager[Any]:
        """A context in which matrix products use one BLAS thread, if sums are to be exact.

        More threads could change the order of a product's additions.
        """
        if not self.exact:
            return nullcontext()
        from threadpoolctl import threadpool_limits

        limits: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
        return limits

    @contextmanager
    def ending_together(
        self,
        *agreed: type[BaseException],
        tell: Tell | None = None,
    ) -> Iterator[None]:
        """A context in which an error on one rank ends all of them, with its message, at once.

        The others wait for this rank in the middle of a step, and cannot be told. With one rank
        alone, errors are raised as usual.

        Args:
            agreed: errors that all ranks raise together; these are raised as usual.
            tell: gives an error's exit code and text, also in contexts inside this one; by default
                1 and its traceback.
        """
        outside = self._tell
        self._tell = tell or outside
        try:
            yield
        except BaseException as error:
            if self.alone or isinstance(error, agreed):
                raise
            self._end(*self._tell(error))
        finally:
            self._tell = outside

    def _end(self, code: int, text: str) -> None:
        """Say what has happened, and end all ranks; it does not return."""
        # If all ranks raise the same, rank 0 says it and ends the others meanwhile.
        time.sleep(0.2 * min(self.rank, 10))
        sys.stdout.flush()
        stream = sys.__stderr__ or sys.stderr  # a rank may be silenced otherwise
        stream.write(f"rank {self.rank} of {self.size}: {text}\nall {self.size} ranks end\n")
        stream.flush()
        self.comm.Abort(code)


def _divide_gpus(comm: Any, of_machine: int) -> None:
    """Give each rank of a machine a GPU of its own; all ranks call it.

    Raises:
        DeviceError: on all ranks, if one of them has opened another one's GPU before.
    """
    machine = comm.Split_type(of_machine)
    error = None
    try:
        if machine.size > 1:
            divide_gpus(machine.rank, machine.size)
    except DeviceError as found:
        error = found
    machine.Free()
    for found_error in comm.allgather(error):
        if found_error is not None:
            raise found_error
