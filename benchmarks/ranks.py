"""Measure what training on several ranks costs, and what it gains on one machine.

    pip install -e ".[mpi]" mpich
    MINIBNN_DATA=... python benchmarks/ranks.py

Trains 784-1024-1024-1024-10 with batches of 1000, every process with one thread: by `fit` in one
process; with batches of half the size, too, which tells what of a step does not depend on the
batch; by ``fit(comm=Ranks("sum"))`` on one rank, in the same process; and on one and two ranks in
both modes, each under its own ``mpirun``, in ``"sum"`` also with batch norm over a rank's part. All
of them run in turn, in each round: two epochs, of which the second is measured. Prints the medians
of a step and the ratios within the rounds, and what a step sends; writes every round to
`benchmarks/results/ranks.csv`, and the environment and the counts to `ranks.json`; with `--rounds`
or `--steps`, only with `--out FOLDER`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frameworks.ours import network
from harness.environment import RESULTS, restart_without_unfair_variables, save_run
from harness.workloads import step_job
from minibnn import Adam, DataLoader, LogitCrossEntropy, fit, load_mnist_or_sample
from minibnn.distributed import Ranks

JOB, BATCH = step_job(1024, 1024, 1024, steps=0, batch=1000), 1000
PLAIN, CONTROL, ALONE = "fit", "fit, again", 'fit(comm=Ranks("sum")), one rank'
HALF = "fit, batches of half the size"
TWO = "sum, 2 ranks"
LAUNCHED = {  # the mode, what batch norm's statistics are of, and the ranks
    "sum, 1 rank": ("sum", "batch", 1),
    TWO: ("sum", "batch", 2),
    "sum, 2 ranks, batch norm of a part": ("sum", "part", 2),
    "exact, 1 rank": ("exact", "batch", 1),
    "exact, 2 ranks": ("exact", "batch", 2),
}
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # minibnn's own threads follow


class Trainee:
    """The network, which goes on training by `fit`.

    Args:
        steps: in a measurement.
        ranks: the processes; None for `fit` without any.
        batch: the samples in a step.
    """

    def __init__(self, steps: int, ranks: Ranks | None, batch: int = BATCH) -> None:
        data = load_mnist_or_sample()
        rng = np.random.default_rng(0)
        self.model = network(JOB).initialize(rng)
        rows = rng.integers(len(data.train_images), size=steps * batch)
        arrays = data.train_images[rows], data.train_labels[rows]
        self.train = DataLoader(arrays, batch, shuffle=True, rng=rng)
        self.optimizer = Adam(self.model.parameters(), 1e-3)
        self.steps = steps
        self.ranks = ranks
        self.ends: list[tuple[float, int, int]] = []

    def run(self) -> float:
        """Train for two epochs; the seconds of a step in the second.

        What happens once in a training, such as comparing the ranks' data, is in the first; what
        happens in each epoch, such as comparing the ranks' parameters, counts.
        """
        self.ends.clear()
        fit(
            self.model, self.train, loss=LogitCrossEntropy(), optimizer=self.optimizer, epochs=2,
            evaluate_train=None, progress=False, comm=self.ranks, on_epoch=self.end_of_epoch,
        )  # fmt: skip
        (first, *_), (second, *_) = self.ends
        return (second - first) / self.steps

    def end_of_epoch(self, history: object) -> None:
        """Note the time, and what was sent before it."""
        watch = self.ranks.watch if self.ranks else None
        sent = (watch.waits, watch.nbytes) if watch else (0, 0)
        self.ends.append((time.perf_counter(), *sent))

    def sent(self) -> tuple[float, float]:
        """The collective calls and the bytes in a step of what was run last."""
        (_, *before), (_, *after) = self.ends
        calls, nbytes = (round((b - a) / self.steps, 1) for a, b in zip(before, after, strict=True))
        return calls, nbytes


def in_this_process(steps: int, rounds: int) -> list[dict[str, float]]:
    """The seconds of a step by `fit` with and without a communicator, for each round."""
    ways = {PLAIN: Trainee(steps, None), ALONE: Trainee(steps, Ranks("sum"))}
    ways |= {HALF: Trainee(steps, None, BATCH // 2), CONTROL: ways[PLAIN]}
    found = []
    for i in range(rounds):
        names = list(ways)
        found.append({name: ways[name].run() for name in names[i % 4 :] + names[: i % 4]})
    return found


def as_rank(steps: int, mode: Any, batch_norm: Any) -> None:
    """Run as one rank of `launched`: rank 0 prints the seconds of a step and what it sends."""
    ranks = Ranks(mode, batch_norm=batch_norm)
    trainee = Trainee(steps, ranks)
    seconds = trainee.run()
    calls, nbytes = trainee.sent()
    if ranks.first:
        print(json.dumps({"seconds": seconds, "collectives": calls, "bytes": nbytes}))


def launched(mode: str, batch_norm: str, ranks: int, steps: int) -> dict[str, float]:
    """A measurement under mpirun: of several ranks, each on a core of its own if there is one."""
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        raise SystemExit("benchmarks/ranks.py: expected mpirun, got none; pip install mpich")
    command = [mpirun, "--bind-to", "core", "-n", str(ranks), sys.executable, __file__]
    done = subprocess.run(
        [*command, "--as-rank", mode, batch_norm, "--steps", str(steps)],
        env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--as-rank", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rounds, steps = given.rounds or 5, given.steps or 60  # an epoch of MNIST
    if given.as_rank is not None:
        as_rank(steps, *given.as_rank)
        return
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.environ |= ONE_THREAD  # before NumPy is loaded
        os.execv(sys.executable, [sys.executable, *sys.argv])
    restart_without_unfair_variables()
    rows, counts = [], {}
    for i in range(rounds):
        (row,) = in_this_process(steps, 1)
        order = list(LAUNCHED)[i % 5 :] + list(LAUNCHED)[: i % 5]
        for name in order:
            counts[name] = launched(*LAUNCHED[name], steps)
            row[name] = counts[name].pop("seconds")
        rows += [(i, name, seconds) for name, seconds in row.items()]
        print(f"round {i + 1} of {rounds}", file=sys.stderr)
    table = pd.DataFrame(rows, columns=["round", "way", "seconds"])
    wide = table.pivot(index="round", columns="way", values="seconds")
    ratios = wide.div(wide[PLAIN], axis=0)
    shown = pd.DataFrame({
        "step, ms": wide.median() * 1000,
        "of fit": ratios.median(),
        "lower quartile": ratios.quantile(0.25),
        "upper": ratios.quantile(0.75),
    })  # fmt: skip
    print(shown.round(3).to_string())
    for name, found in counts.items():
        print(f"{name}: {found['collectives']} collectives and {found['bytes']:,.0f} bytes a step")
    folder = given.out or (RESULTS if given.rounds is None and given.steps is None else None)
    if folder is not None:
        packages = {name: importlib.metadata.version(name) for name in ("mpi4py", "mpich")}
        save_run(folder, "ranks", table, (), 1, (), a_step=counts, packages=packages)


if __name__ == "__main__":
    main()
