"""How contestants race: a process each, turn by turn, with the same start and the same batches."""

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
from rivals import python_of

from minibnn import ImageDataset

CONTESTANTS = Path(__file__).parent / "contestants"
sys.path.append(str(CONTESTANTS))

from ours import endless, loader, network  # noqa: E402
from turns import Data, Job  # noqa: E402

# Threads that wait for work spin for some milliseconds before they sleep; the next contestant
# shall not meet them.
PAUSE = 0.1

Row = dict[str, Any]


@dataclass(frozen=True)
class Contestant:
    """Who takes part: a script in `contestants/`, and the environment that it runs in."""

    name: str
    home: str  # minibnn, numpy (in minibnn's environment) or a rival's name
    script: str
    form: str = ""
    variables: tuple[tuple[str, str], ...] = ()  # of its process, beside everybody's
    interpreter: Path | None = None  # instead of its home's

    @property
    def python(self) -> Path:
        """Its interpreter."""
        if self.interpreter is not None:
            return self.interpreter
        own = self.home in ("minibnn", "numpy")
        return Path(sys.executable) if own else python_of(self.home)

    def command(self, folder: Path) -> list[str]:
        """What starts it."""
        return [str(self.python), str(CONTESTANTS / self.script), str(folder), self.form]


class RaceError(Exception):
    """A contestant that failed, or that does other work than minibnn."""


class Worker:
    """A contestant's process."""

    def __init__(self, contestant: Contestant, folder: Path, limits: Mapping[str, str]) -> None:
        self.name = contestant.name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # see close
        self._process = subprocess.Popen(
            contestant.command(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, text=True, env=os.environ | limits | dict(contestant.variables),
        )  # fmt: skip

    def turn(self) -> tuple[float, float | None, float | None]:
        """Do a turn; return the seconds a step, the first loss and the last."""
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
        """End it."""
        try:
            self._process.communicate()
        except BrokenPipeError:
            self._process.wait()
        self._errors.close()


def limits(threads: int, data_folder: Path | None = None, device: str = "cpu") -> dict[str, str]:
    """The environment variables that all contestants get."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
    found = {f"{name}_NUM_THREADS": str(threads) for name in names}
    found |= {"TF_CPP_MIN_LOG_LEVEL": "2"}
    if device == "cpu":
        found |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    else:  # JAX takes most of the memory at once, and it is not alone there
        found |= {"JAX_PLATFORMS": "cuda", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.2"}
    return found | ({} if data_folder is None else {"MINIBNN_DATA": str(data_folder)})


@contextmanager
def prepared(job: Job, data: ImageDataset, turns: int) -> Iterator[Path]:
    """A folder with the job, the start weights, the data and the samples' order in each turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job.write(folder)
        for field in Data._fields:
            np.save(folder / f"{field}.npy", getattr(data, field))
        if job.kind == "whole":  # starts cold, from the files
            yield folder
            return
        weights = [p.data for p in network(job).parameters() if p.name == "weight"]
        for i, W in enumerate(weights):
            np.save(folder / f"weight_{i:02}.npy", W)
        if job.kind == "train":
            rows = endless(loader(job, np.arange(len(data.train_images))))
            orders = np.stack([row for (row,) in islice(rows, turns * job.steps)])
            np.save(folder / "orders.npy", orders.reshape(turns, job.steps, job.batch))
        else:
            np.save(folder / "orders.npy", np.zeros(0))
        yield folder


def race(
    job: Job,
    contestants: Sequence[Contestant],
    repeats: int,
    data: ImageDataset,
    *,
    tolerance: float = 1e-2,
    data_folder: Path | None = None,
) -> tuple[list[Row], list[str]]:
    """Let contestants take turns in rotating order; return a row for each turn, and complaints.

    A first turn of each, in which things are compiled, is kept apart as `warmup_seconds`. Its first
    loss has to be minibnn's within the tolerance; who differs or fails is out of the race.
    """
    with prepared(job, data, repeats + 1) as folder:
        environment = limits(job.threads, data_folder, job.device)
        return take_turns(folder, contestants, repeats, environment, job.steps, tolerance,
                          together=job.by_epoch)  # fmt: skip


def take_turns(
    folder: Path,
    contestants: Sequence[Contestant],
    repeats: int,
    environment: Mapping[str, str],
    steps: int,
    tolerance: float,
    *,
    together: bool = False,
) -> tuple[list[Row], list[str]]:
    """`race` in a folder that is prepared, with turns of so many steps.

    Together, all start at once and only then take their first turns, one after another: frameworks
    take long to load.
    """
    complaints: list[str] = []
    rows: list[Row] = []
    with ExitStack() as stack:
        racing: dict[str, tuple[Worker, float]] = {}
        expected: float | None = None

        def start(contestant: Contestant) -> Worker:
            worker = Worker(contestant, folder, environment)
            stack.callback(worker.close)
            return worker

        workers: Iterable[Worker] = map(start, contestants)
        for worker in list(workers) if together else workers:
            try:
                seconds, first, _ = worker.turn()
            except RaceError as error:
                complaints.append(str(error))
                continue
            expected = first if expected is None else expected
            same = (
                first is None or expected is None or abs(first - expected) <= tolerance * expected
            )
            if not same:
                complaints.append(
                    f"{worker.name} does other work: its first loss is {first}, not {expected}"
                )
                continue
            racing[worker.name] = worker, seconds * steps
        for repeat in range(repeats):
            names = list(racing)
            first_one = repeat % max(1, len(names))
            for name in names[first_one:] + names[:first_one]:
                worker, warmup = racing[name]
                time.sleep(PAUSE)
                seconds, first, last = worker.turn()
                rows.append(
                    {"contestant": name, "repeat": repeat, "value": seconds,
                     "first_loss": first, "last_loss": last, "warmup_seconds": warmup}
                )  # fmt: skip
    return rows, complaints


def cold_run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a command from start to end; return its seconds and its peak memory in MiB."""
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
