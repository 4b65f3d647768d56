"""Several runs at a time."""

from __future__ import annotations

import os
from concurrent.futures import Future

import pytest

from minibnn.comparison import jobs
from minibnn.comparison.grid import Entry, Run
from minibnn.comparison.jobs import Processes, in_parallel, processors, threads_each
from minibnn.comparison.worker import WorkerError, WorkerStartError

RUNS = [Run(number, Entry(), number) for number in range(5)]


class Fake:
    """Runs end when, and how, the test says."""

    def __init__(self):
        self.waiting = {}

    def submit(self, run):
        future = Future()
        self.waiting[run.number] = future
        return future

    def end(self, number, error=None):
        future = self.waiting.pop(number)
        if error is None:
            future.set_result({"number": number})
        else:
            future.set_exception(error)


def test_results_come_as_runs_end_and_as_many_run_as_may():
    fake = Fake()
    results = in_parallel(RUNS, fake.submit, 2)
    fake.submit(RUNS[0])
    seen = []
    for ended in ([1], [2], [0, 3], [4]):
        if not seen:
            first = fake.submit

            def submit(run, first=first):
                future = first(run)
                if run.number == 1:
                    fake.end(1)
                return future

            results = in_parallel(RUNS, submit, 2)
        else:
            for number in ended:
                fake.end(number)
        for _ in ended:
            run, row = next(results)
            assert row == {"number": run.number}
            seen.append(run.number)
        assert len(fake.waiting) == min(2, 5 - len(seen))
    assert seen[:2] == [1, 2]
    assert sorted(seen) == [0, 1, 2, 3, 4]
    assert list(results) == []


def test_a_failed_run_is_a_result_and_other_errors_are_raised():
    errors = {0: WorkerError("killed"), 2: WorkerStartError("no memory")}

    def submit(run):
        fake = Fake()
        future = fake.submit(run)
        fake.end(run.number, errors.get(run.number))
        return future

    results = in_parallel(RUNS, submit, 1)
    assert next(results) == (RUNS[0], errors[0])
    assert next(results) == (RUNS[1], {"number": 1})
    with pytest.raises(WorkerStartError, match="no memory"):
        next(results)


@pytest.mark.parametrize(
    ("cores", "limits", "processes", "each"),
    [(64, [64], 4, 16), (64, [64], 5, 12), (2, [2], 4, 1), (64, [2], 4, 2), (8, [], 3, 2),
     (8, [8, 1], 2, 1)],
)  # fmt: skip
def test_threads_are_divided(monkeypatch, cores, limits, processes, each):
    info = [{"user_api": "blas", "num_threads": limit} for limit in limits]
    info.append({"user_api": "openmp", "num_threads": 1})
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: info)
    monkeypatch.setattr(jobs, "processors", lambda: set(range(cores)))
    assert threads_each(processes) == each
    assert Processes(processes).threads == each
    assert str(Processes(2, 3)) == "2 jobs at a time, BLAS threads of each: 3"
    assert str(Processes(1, 3)).startswith("1 job at")


def test_processors(monkeypatch):
    assert 1 <= len(processors()) <= os.cpu_count()
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert len(processors()) == os.cpu_count()
