"""Measure one workload: a race, whole programs from a cold start, or imports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.contestant import Job
from harness.race import Contestant, RaceError, Row, cold_run, limits, prepared, race
from harness.workloads import MODULES, OURS, Workload
from minibnn import ImageDataset
from minibnn.data import download

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist.py"
USE = "import minibnn; minibnn.Dense, minibnn.Adam, minibnn.fit"
LIGHT_IMPORTS = 3  # so many of minibnn and NumPy for one of each rival


def measure(
    name: str,
    workload: Workload,
    homes: Iterable[str],
    rounds: tuple[int, int],
    steps: int | None,
    data: ImageDataset,
) -> tuple[list[Row], list[str]]:
    """Return a workload's rows, and problems; `rounds` are the sessions, and the rounds of each."""
    sessions, repeats = rounds
    if workload.whole_mnist and "sample" in data.name:
        return [], ["left out: it needs the files of MNIST; set MINIBNN_DATA"]
    contestants = [c for c in workload.contestants if c.home in homes]
    job = workload.job
    if job.kind == "train":
        job = replace(job, steps=min(job.steps, len(data.train_images) // job.batch))
    if steps is not None:
        job = replace(job, steps=steps)
    folder = None
    if "sample" not in data.name:
        folder = Path(os.environ.get("MINIBNN_DATA") or download.cache_folder())
    if job.kind == "import":
        found, problems = measure_imports(homes, repeats, job.threads)
    elif job.kind == "whole":
        found, problems = measure_whole(job, contestants, repeats, data, folder)
    else:
        found, problems = [], []
        for session in range(sessions):
            rows, more = race(
                job, contestants, repeats, data, tolerance=workload.tolerance, data_folder=folder
            )
            found += [row | {"repeat": session * repeats + row["repeat"]} for row in rows]
            problems += [text for text in more if text not in problems]
        if name == "seed-epoch":
            found = [row | {"value": row["value"] * job.steps} for row in found]
    return [{"work": name, "unit": f"s/{workload.unit}", **row} for row in found], problems


def measure_whole(
    job: Job,
    contestants: list[Contestant],
    rounds: int,
    data: ImageDataset,
    data_folder: Path | None,
) -> tuple[list[Row], list[str]]:
    """The seed job from a cold start: its seconds, and the peak memory of the same processes."""
    environment = limits(job.threads, data_folder, job.device)
    ours = [sys.executable, str(EXAMPLE), "--device", "cpu", "--quiet"]
    rows: list[Row] = []
    problems: list[str] = []
    with prepared(job, data, 0) as folder:
        # On a GPU, the first process compiles kernels and stores them on disk; it is not counted.
        for repeat in range(-1 if job.device == "gpu" else 0, rounds):
            start = max(0, repeat) % max(1, len(contestants))
            for contestant in contestants[start:] + contestants[:start]:
                command = ours if contestant is OURS else contestant.command(folder)
                try:
                    seconds, peak = cold_run(command, environment)
                except RaceError as error:
                    problems.append(str(error))
                    contestants = [c for c in contestants if c is not contestant]
                    continue
                if repeat < 0:
                    continue
                row = {"contestant": contestant.name, "repeat": repeat}
                rows.append(row | {"value": seconds})
                rows.append(row | {"work": "peak-memory", "unit": "MiB", "value": peak})
    return rows, problems


def measure_imports(homes: Iterable[str], rounds: int, threads: int) -> tuple[list[Row], list[str]]:
    """Imports in fresh processes, timed inside them; rivals take part in every third round."""
    statements = {
        "minibnn": ("import minibnn", OURS),
        "NumPy": ("import numpy", OURS),
        "in use": (USE, OURS),
    }
    rivals = {}
    for home in sorted(set(homes) & set(MODULES)):
        title, module = MODULES[home]
        rivals[title] = f"import {module}", Contestant(title, home, "")
    environment = os.environ | limits(threads)
    rows: list[Row] = []
    for repeat in range(LIGHT_IMPORTS * rounds):
        taking_part = dict(statements)
        if repeat % LIGHT_IMPORTS == 0:
            taking_part |= rivals
        names = list(taking_part)
        start = repeat % len(names)
        for name in names[start:] + names[:start]:
            statement, contestant = taking_part[name]
            code = (
                f"import time; s = time.perf_counter(); {statement}; print(time.perf_counter()-s)"
            )
            done = subprocess.run(
                [contestant.python, "-c", code], capture_output=True, text=True, env=environment
            )
            if done.returncode:
                return rows, [f"{statement} failed:\n{done.stderr}"]
            seconds = float(done.stdout.split()[-1])
            row = {"contestant": name, "repeat": repeat, "value": seconds}
            if name != "in use":
                rows.append(row)
            if name in ("in use", "NumPy"):  # NumPy is a rival of both workloads
                name = "minibnn" if name == "in use" else name
                rows.append(row | {"work": "import-and-use", "contestant": name})
    return rows, []
