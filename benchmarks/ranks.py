"""Measure what training on several ranks costs, and what it gains on one machine.

    pip install -e ".[mpi]" mpich
    MINIBNN_DATA=... python benchmarks/ranks.py

Trains 784-1024-1024-1024-10 with batches of 1000, every process with one thread: by `fit` in one
process; with batches of half the size, too, which tells what of a step does not depend on the
batch; by ``fit(comm=Ranks("sum"))`` on one rank, in the same process; and on one and two ranks in
both modes, each under its own ``mpirun``. All of them run in turn, in each round. Prints the
medians of a step and the ratios within the rounds, and what a step sends; writes every round to
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
LAUNCHED = [(mode, ranks) for mode in ("sum", "exact") for ranks in (1, 2)]
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

    def run(self) -> float:
        """Train for an epoch; the seconds of a step."""
        begun = time.perf_counter()
        fit(
            self.model, self.train, loss=LogitCrossEntropy(), optimizer=self.optimizer, epochs=1,
            evaluate_train=None, progress=False, comm=self.ranks,
        )  # fmt: skip
        return (time.perf_counter() - begun) / self.steps


def in_this_process(steps: int, rounds: int) -> list[dict[str, float]]:
    """The seconds of a step by `fit` with and without a communicator, for each round."""
    ways = {PLAIN: Trainee(steps, None), ALONE: Trainee(steps, Ranks("sum"))}
    ways |= {HALF: Trainee(steps, None, BATCH // 2), CONTROL: ways[PLAIN]}
    for trainee in ways.values():
        trainee.run()
    found = []
    for i in range(rounds):
        names = list(ways)
        found.append({name: ways[name].run() for name in names[i % 4 :] + names[: i % 4]})
    return found


def as_rank(mode: Any, steps: int) -> None:
    """Run as one rank of `launched`: rank 0 prints the seconds of a step and what it sends."""
    ranks = Ranks(mode)
    trainee = Trainee(steps, ranks)
    trainee.run()
    before = ranks.watch.waits, ranks.watch.nbytes
    seconds = float(np.median([trainee.run() for _ in range(3)]))
    waits, nbytes = (
        round((now - then) / 3 / steps, 1)
        for now, then in zip((ranks.watch.waits, ranks.watch.nbytes), before, strict=True)
    )
    if ranks.first:
        print(json.dumps({"seconds": seconds, "collectives": waits, "bytes": nbytes}))


def launched(mode: str, ranks: int, steps: int) -> dict[str, float]:
    """A measurement under mpirun: of several ranks, each on a core of its own if there is one."""
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        raise SystemExit("benchmarks/ranks.py: expected mpirun, got none; pip install mpich")
    command = [mpirun, "-n", str(ranks), sys.executable, __file__]
    done = subprocess.run(
        [*command, "--as-rank", mode, "--steps", str(steps)],
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
    parser.add_argument("--as-rank", choices=("sum", "exact"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rounds, steps = given.rounds or 7, given.steps or 10
    if given.as_rank is not None:
        as_rank(given.as_rank, steps)
        return
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.environ |= ONE_THREAD  # before NumPy is loaded
        os.execv(sys.executable, [sys.executable, *sys.argv])
    restart_without_unfair_variables()
    rows, counts = [], {}
    for i in range(rounds):
        (row,) = in_this_process(steps, 1)
        order = LAUNCHED[i % 4 :] + LAUNCHED[: i % 4]
        for mode, ranks in order:
            found = launched(mode, ranks, steps)
            row[f"{mode}, {ranks} rank" + "s" * (ranks > 1)] = found.pop("seconds")
            counts[f"{mode}, {ranks}"] = found
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
