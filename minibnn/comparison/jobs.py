"""Several runs at a time: processes on this machine, and the order in which results come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from queue import SimpleQueue
from typing import Protocol, TypeAlias, runtime_checkable

from minibnn.comparison.grid import Row, Run
from minibnn.comparison.worker import Worker, WorkerError

# Gives a run to whoever is free; its result comes later.
Submit: TypeAlias = Callable[[Run], "Future[Row]"]


@runtime_checkable
class Pool(Protocol):
    """Processes that train runs.

    Attributes:
        number: how many there are.
        threads: how many BLAS threads each of them has.
    """

    number: int
    threads: int

    def __str__(self) -> str:
        """How many there are, and their threads."""

    def begin(self, payload: bytes) -> AbstractContextManager[Submit]:
        """A context in which they have the recipe and the data; at its end they are killed."""


class Processes:
    """Processes on this machine.

    Args:
        number: how many.
        threads: of BLAS and C, of each; None for an equal share of the processors.
    """

    def __init__(self, number: int, threads: int | None = None) -> None:
        self.number = number
        self.threads = threads_each(number) if threads is None else threads

    def __str__(self) -> str:
        return f"{at_a_time(self.number)}, BLAS threads of each: {self.threads}"

    @contextmanager
    def begin(self, payload: bytes) -> Iterator[Submit]:
        """See `Pool`."""
        workers = [Worker(payload, self.threads) for _ in range(self.number)]
        idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in workers:
            idle.put(worker)

        def train(run: Run) -> Row:
            worker = idle.get()
            try:
                return worker.run(run)
            finally:
                idle.put(worker)

        threads = ThreadPoolExecutor(self.number)
        try:
            yield lambda run: threads.submit(train, run)
        finally:
            for worker in workers:
                worker.kill()
            threads.shutdown(cancel_futures=True)
            for worker in workers:
                worker.join()


def in_parallel(
    runs: Iterable[Run], submit: Submit, number: int
) -> Iterator[tuple[Run, Row | WorkerError]]:
    """Each run with its row, or with why it failed, as they come.

    Args:
        runs: to be trained.
        submit: gives a run to a process.
        number: how many runs may be trained at a time.

    Raises:
        WorkerStartError: if a process cannot begin.
    """
    left = iter(runs)
    waiting = {submit(run): run for run in islice(left, number)}
    while waiting:
        ended = [(waiting.pop(f), f) for f in wait(waiting, return_when=FIRST_COMPLETED).done]
        waiting |= {submit(run): run for run in islice(left, len(ended))}
        for run, future in ended:
            error = future.exception()
            if error is None:
                yield run, future.result()
            elif isinstance(error, WorkerError):
                yield run, error
            else:
                raise error


def at_a_time(number: int) -> str:
    """As text."""
    return f"{number} {'job' if number == 1 else 'jobs'} at a time"


def processors() -> set[int]:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def threads_each(processes: int) -> int:
    """How many BLAS threads each of several processes may use on this process's processors.

    Together as many as there are processors, but in each at least one, and no more than
    ``OPENBLAS_NUM_THREADS`` or `threadpoolctl` allow this process. minibnn's C kernels have as many
    as the BLAS.
    """
    from threadpoolctl import threadpool_info

    limits: list[int] = [
        info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"
    ]
    return max(1, min([len(processors()) // processes, *limits]))
