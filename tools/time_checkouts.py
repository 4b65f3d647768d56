"""Times two checkouts of minibnn beside each other, for `compare_checkouts.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from minibnn import load_mnist_or_sample

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import cpu
from race import Contestant, race

WORKLOADS = {
    name: (cpu.WORKLOADS[name].job, "ours.py")
    for name in ("seed-epoch", "step-3x256", "step-3x1024", "step-larq-cnn")
}
WORKLOADS["adam-3x1024"] = replace(cpu.WORKLOADS["step-3x1024"].job, steps=100), "ours_adam.py"
SLOWER = 1.03  # new / old may be so many times old / old


def time_session(
    name: str,
    compiled: bool,
    checkouts: Sequence[tuple[str, Path]],
    rounds: int,
    threads: int,
    steps: int | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Let old, new and old again take turns, each in a new process.

    Args:
        name: of the workload.
        compiled: whether with the C kernels.
        checkouts: the folder and the interpreter of old and of new.
        rounds: turns of each; a first one, in which caches are filled, is not among them.
        threads: of the BLAS.
        steps: in a turn; None for the workload's own.

    Returns:
        A row for each turn, with its ``value`` in milliseconds a unit; and what went wrong.
    """
    job, script = WORKLOADS[name]
    job = replace(job, steps=steps or job.steps, threads=threads)
    old, new = checkouts
    contestants = [
        Contestant(
            who, "minibnn", script, interpreter=python,
            variables=(("PYTHONPATH", folder), ("MINIBNN_COMPILED", str(int(compiled)))),
        )
        for who, (folder, python) in (("old", old), ("new", new), ("again", old))
    ]  # fmt: skip
    rows, wrong = race(job, contestants, rounds, load_mnist_or_sample())
    units = job.steps if name == "seed-epoch" else 1
    return [row | {"value": 1e3 * units * row["value"]} for row in rows], wrong


def ratios(turns: pd.DataFrame) -> pd.DataFrame:
    """For each workload the medians over the rounds of all sessions, and the verdict."""
    found = []
    for (name, kernels), part in turns.groupby(["workload", "kernels"], sort=False):
        times = part.pivot(index=["session", "repeat"], columns="contestant", values="value")
        times = times.reindex(columns=["old", "new", "again"])  # one that failed has no times
        new_old = float((times["new"] / times["old"]).median())
        old_old = float((times["again"] / times["old"]).median())
        found.append(
            {"workload": name, "kernels": kernels, "old_ms": float(times["old"].median()),
             "new_old": new_old, "old_old": old_old,
             "passed": "yes" if new_old <= SLOWER * old_old else "NO"}
        )  # fmt: skip
    return pd.DataFrame(found)
