"""How contestants race: in processes of their own, round by round, on the same batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from frameworks.ours import endless, loader, network
from harness.contestant import Data, Job
from harness.rivals import python_of
from minibnn import ImageDataset

LAUNCHER = Path(__file__).parents[1] / "start_contestant.py"
# Idle threads spin for some milliseconds before they sleep. They must not disturb the next
# contestant.
PAUSE = 0.1

Row = dict[str, Any]


@dataclass(frozen=True)
class Contestant:
    """Who takes part: a module of `frameworks` or `deployment`, and its environment."""

    name: str
    home: str  # minibnn, numpy (in minibnn's environment) or a rival's name
    module: str
    form: str = ""
    variables: tuple[tuple[str, str], ...] = ()  # of its process only
    interpreter: Path | None = None  # None: the interpreter of its home

    @property
    def python(self) -> Path:
        """Its interpreter."""
        if self.interpreter is not None:
            return self.interpreter
        own = self.home in ("minibnn", "numpy")
        return Path(sys.executable) if own else python_of(self.home)

    def command(self, folder: Path) -> list[str]:
        """The command that starts it."""
        return [str(self.python), str(LAUNCHER), self.module, str(folder), self.form]


class RaceError(Exception):
    """A contestant failed."""


class Worker:
    """A contestant's process."""

    def __init__(self, contestant: Contestant, folder: Path, limits: Mapping[str, str]) -> None:
        self.name = contestant.name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # see close
        self._process = subprocess.Popen(
            contestant.command(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, text=True, env=os.environ | limits | dict(contestant.variables),
        )  # fmt: skip

    def run_round(self) -> tuple[float, float | None, float | None]:
        """Run one round; return the seconds per step, the first loss and the last."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            seconds, first, last = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self._process.wait()
            self._errors.seek(0)
            tail = "\n".join(self._errors.read().splitlines()[-8:])
            raise RaceError(f"{self.name} failed:\n{tail}") from None
        return seconds, first, last

    def close(self) -> None:
        """End the process."""
        try:
            self._process.communicate()
        except BrokenPipeError:
            self._process.wait()
        self._errors.close()


def limits(threads: int, data_folder: Path | None = None, device: str = "cpu") -> dict[str, str]:
    """The environment variables of all contestants."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
    found = {f"{name}_NUM_THREADS": str(threads) for name in names}
    found |= {"TF_CPP_MIN_LOG_LEVEL": "2"}
    if device == "cpu":
        found |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    else:  # by default JAX allocates most of the memory, which the others need too
        found |= {"JAX_PLATFORMS": "cuda", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.2"}
    return found | ({} if data_folder is None else {"MINIBNN_DATA": str(data_folder)})


@contextmanager
def prepared(job: Job, data: ImageDataset, rounds: int) -> Iterator[Path]:
    """A folder with the job, the initial weights, the data and each round's order of samples."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job.write(folder)
        for field in Data._fields:
            np.save(folder / f"{field}.npy", getattr(data, field))
        if job.kind == "whole":  # a cold start, which reads the files itself
            yield folder
            return
        weights = [p.data for p in network(job).parameters() if p.name == "weight"]
        for i, W in enumerate(weights):
            np.save(folder / f"weight_{i:02}.npy", W)
        if job.kind == "train":
            rows = endless(loader(job, np.arange(len(data.train_images))))
            orders = np.stack([row for (row,) in islice(rows, rounds * job.steps)])
            np.save(folder / "orders.npy", orders.reshape(rounds, job.steps, job.batch))
        else:
            np.save(folder / "orders.npy", np.zeros(0))
        yield folder


def race(
    job: Job,
    contestants: Sequence[Contestant],
    rounds: int,
    data: ImageDataset,
    *,
    tolerance: float = 1e-2,
    data_folder: Path | None = None,
) -> tuple[list[Row], list[str]]:
    """Race the contestants in rotating order; return a row for each round of each, and problems.

    A warm-up round, which includes compilation, comes first and is reported as `warmup_seconds`.
    Its first loss must equal minibnn's within the tolerance. A contestant with another loss, or one
    that fails, is excluded.
    """
    with prepared(job, data, rounds + 1) as folder:
        environment = limits(job.threads, data_folder, job.device)
        return run_rounds(folder, contestants, rounds, environment, job.steps, tolerance,
                          start_together=job.by_epoch)  # fmt: skip


def run_rounds(
    folder: Path,
    contestants: Sequence[Contestant],
    rounds: int,
    environment: Mapping[str, str],
    steps: int,
    tolerance: float,
    *,
    start_together: bool = False,
) -> tuple[list[Row], list[str]]:
    """`race` in a folder that is already prepared, with `steps` steps per round.

    With `start_together` all processes start at once, before the first warm-up round: frameworks
    take long to load.
    """
    problems: list[str] = []
    rows: list[Row] = []
    with ExitStack() as stack:
        racing: dict[str, tuple[Worker, float]] = {}
        expected: float | None = None

        def start(contestant: Contestant) -> Worker:
            worker = Worker(contestant, folder, environment)
            stack.callback(worker.close)
            return worker

        workers: Iterable[Worker] = map(start, contestants)
        for worker in list(workers) if start_together else workers:
            try:
                seconds, first, _ = worker.run_round()
            except RaceError as error:
                problems.append(str(error))
                continue
            expected = first if expected is None else expected
            same = (
                first is None or expected is None or abs(first - expected) <= tolerance * expected
            )
            if not same:
                problems.append(
                    f"{worker.name} excluded: expected the first loss {expected}, got {first}"
                )
                continue
            racing[worker.name] = worker, seconds * steps
        for repeat in range(rounds):
            names = list(racing)
            first_one = repeat % max(1, len(names))
            for name in names[first_one:] + names[:first_one]:
                worker, warmup = racing[name]
                time.sleep(PAUSE)
                seconds, first, last = worker.run_round()
                rows.append(
                    {"contestant": name, "repeat": repeat, "value": seconds,
                     "first_loss": first, "last_loss": last, "warmup_seconds": warmup}
                )  # fmt: skip
    return rows, problems


def cold_run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a command to its end; return its seconds and its peak memory in MiB."""
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env=os.environ | environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would wait for it again
        if process.returncode:
            errors.seek(0)
            tail = "\n".join(errors.read().splitlines()[-8:])
            raise RaceError(f"{' '.join(command)} failed:\n{tail}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 2**20
