"""Time two checkouts of minibnn against each other, for `compare_checkouts.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from minibnn import load_mnist_or_sample

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from harness import workloads
from harness.race import Contestant, race

WORKLOADS = {
    name: (workloads.WORKLOADS[name].job, "frameworks.ours")
    for name in ("seed-epoch", "step-3x256", "step-3x1024", "step-larq-cnn")
}
WORKLOADS["adam-3x1024"] = (
    replace(workloads.WORKLOADS["step-3x1024"].job, steps=100),
    "frameworks.ours_adam",
)
SLOWER = 1.03  # the limit for new / old, as a multiple of old / old


def time_session(
    name: str,
    compiled: bool,
    checkouts: Sequence[tuple[str, Path]],
    rounds: int,
    threads: int,
    steps: int | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run one session of old, new and old again, each in a new process.

    Args:
        name: the workload.
        compiled: whether to use the C kernels.
        checkouts: the folders and interpreters of old and new.
        rounds: rounds to time; a warm-up round comes before them.
        threads: threads of the BLAS.
        steps: steps per round; None for the workload's own.

    Returns:
        A row for each round of each, with its ``value`` in milliseconds per unit; and problems.
    """
    job, module = WORKLOADS[name]
    job = replace(job, steps=steps or job.steps, threads=threads)
    old, new = checkouts
    contestants = [
        Contestant(
            who, "minibnn", module, interpreter=python,
            variables=(("PYTHONPATH", folder), ("MINIBNN_COMPILED", str(int(compiled)))),
        )
        for who, (folder, python) in (("old", old), ("new", new), ("again", old))
    ]  # fmt: skip
    rows, problems = race(job, contestants, rounds, load_mnist_or_sample())
    units = job.steps if name == "seed-epoch" else 1
    return [row | {"value": 1e3 * units * row["value"]} for row in rows], problems


def ratios(measurements: pd.DataFrame) -> pd.DataFrame:
    """For each workload, the medians over the rounds of all sessions, and whether it passed."""
    found = []
    for (name, kernels), part in measurements.groupby(["workload", "kernels"], sort=False):
        times = part.pivot(index=["session", "repeat"], columns="contestant", values="value")
        times = times.reindex(
            columns=["old", "new", "again"]
        )  # a checkout that failed has no times
        new_old = float((times["new"] / times["old"]).median())
        old_old = float((times["again"] / times["old"]).median())
        found.append(
            {"workload": name, "kernels": kernels, "old_ms": float(times["old"].median()),
             "new_old": new_old, "old_old": old_old,
             "passed": "yes" if new_old <= SLOWER * old_old else "NO"}
        )  # fmt: skip
    return pd.DataFrame(found)
