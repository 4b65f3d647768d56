"""The part `ranks` of `confirm_gpu.py`: two ranks, each on its own GPU, or both on the only one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confirm.setting import CUT_OFF, FAILED, NOT_RUN, ROOT, Outcome, run, verdict

SCRIPT = ROOT / "tools" / "validate_gpu" / "train_on_ranks.py"
ROOT_MAY = ("OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")  # Open MPI, containers


def ranks(seconds: float, on: Mapping[str, Any]) -> Outcome:
    """Train on one rank and on two, and compare.

    Args:
        seconds: the limit.
        on: the facts about the machine.
    """
    launcher = mpirun()
    if launcher is None:
        return Outcome(NOT_RUN, "there is no mpirun; hint: pip install mpich, or load an MPI", {})
    gpus = on.get("gpus", 1)
    if gpus < 2 and on.get("compute_mode"):
        return Outcome(NOT_RUN, "there is one GPU, and processes may not share it", {})
    share = ["CUDA_VISIBLE_DEVICES=0"] if gpus < 2 else []
    found = []
    for count in (1, 2):
        command = [
            "env",
            *ROOT_MAY,
            *share,
            launcher,
            "-n",
            str(count),
            sys.executable,
            str(SCRIPT),
        ]
        code, output = run(command, seconds / 2)
        if code is None:
            return Outcome(CUT_OFF, f"during {count} of 2 ranks", {"output": output[-4000:]})
        rows = [line for line in output.splitlines() if line.startswith('{"ranks"')]
        if code != 0 or not rows:
            print(output[-4000:])
            last = (output.strip().splitlines() or ["nothing"])[-1]
            line = f"{count} of 2 ranks ended with {code}: {last}"
            return Outcome(FAILED, line, {"output": output[-4000:]})
        found.append(json.loads(rows[-1]))
    one, two = found
    return read_ranks(one, two, gpus)


def mpirun() -> str | None:
    """The launcher: that of this Python's environment, or the one on the PATH."""
    beside = Path(sys.executable).with_name("mpirun")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("mpirun")


def read_ranks(one: dict[str, Any], two: dict[str, Any], gpus: int) -> Outcome:
    """The outcome, from the findings of one rank and of two."""
    problems = []
    if gpus > 1 and len(set(two["gpus"])) < 2:
        problems.append(f"two ranks have one GPU, {two['gpus'][0]}, of {gpus}")
    exact = next(row["digest"] for row in one["runs"] if row["mode"] == "exact")
    problems += [
        f"exact, by {row['by']}: two ranks do not give the bits of one"
        for row in two["runs"]
        if row["mode"] == "exact" and row["digest"] != exact
    ]
    sums = [row for row in two["runs"] if row["mode"] == "sum"]
    if len({row["digest"] for row in sums}) > 1:  # a sum of two has one order
        names = " and ".join(row["by"] for row in sums)
        problems.append(f"sum: {names} do not give the same bits")
    times = ", ".join(f"{row['by']} {row['ms']} ms" for row in sums)
    alone = next(row["ms"] for row in one["runs"] if row["mode"] == "sum")
    refused = "".join(f"; not by {kind}: {reason}" for kind, reason in two["refused"].items())
    where = "on two GPUs" if len(set(two["gpus"])) > 1 else "on one GPU"
    for row in two["runs"]:
        print(f"  {row['mode']}, by {row['by']}: {row['ms']} ms a step, digest {row['digest']}")
    return verdict(
        problems,
        f"two ranks {where} give one rank's bits (exact); a step (sum): {times}, one rank "
        f"{alone} ms{refused}",
        {"one": one, "two": two},
    )
