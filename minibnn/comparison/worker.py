"""A process of its own that trains runs, one after another."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from minibnn.backend import Backend
from minibnn.comparison.grid import Row, Run
from minibnn.data import ImageDataset
from minibnn.signals import ENDING
from minibnn.training.recipe import Recipe

SIGNALS = (signal.SIGINT, *ENDING)
LOOK = 0.2  # seconds between two questions whether all is over
# What a BLAS reads when it is loaded. `threadpool_limits` comes later, when each process would have
# started a thread for each core.
LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_one_starts = threading.Lock()  # all threads of this process have one environment

Connection: TypeAlias = "multiprocessing.connection.Connection[Any, Any]"
# An error on the other side: in a line, and with its traceback.
Failure: TypeAlias = tuple[str, str]
# A row and None, or something and a failure.
Answer: TypeAlias = tuple[Row, Failure | None]


class WorkerError(RuntimeError):
    """A run has failed: it raised an error, or its process was killed."""


class WorkerStartError(RuntimeError):
    """A process could not begin, so another one could not either."""


class RecipeCall:
    """A call that makes a recipe, once in each process.

    Its pickled form is the call. A recipe has none, since its functions are inside others.

    Args:
        function: at the top of a file.
        arguments: of the call.
    """

    def __init__(self, function: Callable[..., Recipe], *arguments: Any) -> None:
        self._call = function, arguments
        self._made: Recipe | None = None

    def __call__(self) -> Recipe:
        """The recipe."""
        if self._made is None:
            function, arguments = self._call
            self._made = function(*arguments)
        return self._made

    def __reduce__(self) -> tuple[Any, ...]:
        function, arguments = self._call
        return RecipeCall, (function, *arguments)


def payload_of(
    recipe: Recipe | Callable[[], Recipe], data: ImageDataset, backend: Backend
) -> bytes:
    """What workers need for their runs, to be sent to each of them once.

    Raises:
        ValueError: if the recipe has no pickled form.
    """
    try:
        pickle.dumps(recipe)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"compare: expected a recipe that can be sent to other processes, got {recipe!r} "
            f'({error}); pass the function that makes it, as in compare(RECIPES["modern"], ...)'
        ) from None
    return pickle.dumps((recipe, data, backend.name), protocol=5)


class Worker:
    """A process with the recipe and the data, which trains one run after another.

    It starts with its first run. If it is killed, a new one starts with the next run. It ends when
    this process ends, in whatever way, and ignores Ctrl-C, SIGTERM and SIGHUP, which this process
    gets too.

    It is spawned, not forked: a fork has none of the threads of BLAS and of the C kernels, but the
    locks that they held.

    Args:
        payload: from `payload_of`.
        threads: how many the BLAS and the C kernels may use.
    """

    def __init__(self, payload: bytes, threads: int) -> None:
        self._payload = payload
        self._threads = threads
        self._process: Any = None
        self._connection: Connection | None = None  # to a process that has begun
        self._changing = threading.Lock()
        self._killed = False

    def run(self, run: Run, over: Callable[[], bool] = lambda: False) -> Row:
        """Have a run trained, and wait for its row.

        Args:
            run: the run.
            over: says whether all is over; then the process is killed.

        Raises:
            WorkerError: if the training raises, or the process ends.
            WorkerStartError: if the process cannot begin.
        """
        if self._connection is None or not self._process.is_alive():  # killed since its last run
            self._connection = self._start(over)
        try:
            self._connection.send(run)
            row, error = self._answer(self._connection, over)
        except (EOFError, OSError):  # OSError: it has ended before it had read all
            raise WorkerError(self._how_it_ended()) from None
        if error is not None:
            raise _with_traceback(WorkerError, error)
        return row

    def kill(self) -> None:
        """End the process, though another thread may wait for it; no other one will start."""
        with self._changing:
            self._killed = True
            if self._process is not None:
                self._process.kill()

    def join(self) -> None:
        """After `kill`, wait until the process has ended."""
        if self._process is not None:
            self._process.join()

    def _start(self, over: Callable[[], bool]) -> Connection:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process: Any = context.Process(target=_work, args=(there, self._threads))
        with self._changing:
            if self._killed:
                raise WorkerError("all is over")
            try:
                with _one_starts, _environment(self._threads), _signals_blocked():
                    process.start()
            except OSError as refused:
                raise WorkerStartError(f"a process could not begin: {refused}") from refused
            self._process = process
        there.close()  # else the process would not close the connection by its end
        try:
            here.send_bytes(self._payload)
            _, error = self._answer(here, over)
        except (EOFError, OSError):
            ended = self._how_it_ended()
            if process.exitcode < 0:
                raise WorkerError(ended) from None
            raise WorkerStartError(
                f"{ended} before it could begin; in a script, call compare inside "
                'if __name__ == "__main__":'
            ) from None
        if error is not None:
            raise _with_traceback(WorkerStartError, error)
        return here

    def _answer(self, connection: Connection, over: Callable[[], bool]) -> Answer:
        while not connection.poll(LOOK):
            if over():
                self.kill()
        answer: Answer = connection.recv()
        return answer

    def _how_it_ended(self) -> str:
        process, self._connection = self._process, None
        process.join(1)
        if process.exitcode is None:  # it has closed the connection, but it lives
            process.kill()
            process.join()
        code: int = process.exitcode
        if code >= 0:
            return f"its process, {process.pid}, ended with exit code {code}"
        name = signal.Signals(-code).name
        why = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"its process, {process.pid}, was killed by {name}{why}"


def _with_traceback(kind: type[RuntimeError], failure: Failure) -> RuntimeError:
    error = kind(failure[0])
    error.add_note(failure[1])
    return error


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """A context in which processes start with this number of threads."""
    before = {name: os.environ.get(name) for name in LIMITS}
    os.environ.update(dict.fromkeys(LIMITS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A context in which processes start with signals blocked, until they ignore them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the worker's process ----------------------------------------------------------------------


def _work(connection: Connection, threads: int) -> None:
    """Train the runs that come; answer each with a row or a failure."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # of the connection: nobody is there any more
        try:
            recipe, data, device = _begin(connection.recv_bytes(), threads)
        except Exception as error:
            connection.send(({}, _failure(error)))
            return
        connection.send(({}, None))
        while True:
            run: Run = connection.recv()
            answer: Answer
            try:
                answer = run.train(recipe, data, device), None
            except Exception as error:
                answer = {}, _failure(error)
            connection.send(answer)


def _begin(payload: bytes, threads: int) -> tuple[Recipe, ImageDataset, str]:
    from threadpoolctl import threadpool_limits

    recipe, data, device = pickle.loads(payload)
    threadpool_limits(threads, "blas")  # whatever else limits a BLAS than the environment
    return recipe if isinstance(recipe, Recipe) else recipe(), data, device


def _failure(error: Exception) -> Failure:
    return f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
