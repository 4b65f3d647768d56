"""minibnn beside its rivals on the CPU: the same work, turn by turn.

    python benchmarks/rivals.py pytorch jax larq thinc    # an environment for each
    MINIBNN_DATA=... python benchmarks/cpu.py             # every workload, every rival installed
    python benchmarks/cpu.py --workloads seed-epoch step-3x256 --rivals jax pytorch --repeats 7

Prints a table in Markdown: for each workload and rival the medians, and the ratio minibnn / rival,
which is the median (and the quartiles) over the rounds of the two turns' ratio. What is raced in
steps or epochs is raced in several sessions, each with new processes: where a process's memory
happens to lie makes it faster or slower for as long as it lives. A whole run writes every turn to
`benchmarks/results/cpu.csv`, what it ran on to `cpu.json`, and the ratios as a picture to
`cpu.png`; a run of parts does so with `--out FOLDER`. `benchmarks/README.md` says what each
workload is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from environment import RESULTS, save_run, start_even
from race import Contestant, RaceError, Row, cold_run, limits, prepared, race
from rivals import installed
from tables import draw, markdown
from turns import Job

from minibnn import ImageDataset, load_mnist_or_sample
from minibnn.data import download

OURS = Contestant("minibnn", "minibnn", "ours.py")
ON_NUMPY = Contestant(
    "minibnn without its C", "numpy", "ours.py", variables=(("MINIBNN_COMPILED", "0"),)
)
PLAIN = Contestant("plain NumPy", "numpy", "plain_numpy.py")
PRODUCTS = Contestant("matrix products alone", "numpy", "products.py")
EAGER = Contestant("PyTorch eager", "pytorch", "pytorch.py", "eager")
CHANNELS_LAST = Contestant("PyTorch channels_last", "pytorch", "pytorch.py", "channels_last")
COMPILED = Contestant("PyTorch compiled", "pytorch", "pytorch.py", "compiled")
JAX = Contestant("JAX", "jax", "jax_scan.py")
FIT = Contestant("Larq, model.fit", "larq", "larq_keras.py", "fit")
FUNCTION = Contestant("Larq, tf.function", "larq", "larq_keras.py", "function")
THINC = Contestant("Thinc, of floats", "thinc", "thinc_float.py")

SEED = Job("train", (784, 128, 64, 10), bias=True, norm=False, clip=None, bound=None,
           scale=1 / 255, shift=0.0, rate=3e-4, batch=64, steps=937)  # fmt: skip
MODULES = {  # as they are called and imported
    "pytorch": ("PyTorch", "torch"),
    "jax": ("JAX", "jax"),
    "thinc": ("Thinc", "thinc"),
    "larq": ("Larq", "larq"),
}
TOUCH = "import minibnn; minibnn.Dense, minibnn.Adam, minibnn.fit"
RIVALS = tuple(MODULES)  # of all that `rivals.py` knows, those that train
IMPORT_ROUNDS = 3  # of the light imports, for one of the rivals'


def step_job(*hidden: int, steps: int, batch: int = 100, threads: int = 2) -> Job:
    """Training steps of a dense binary network."""
    return Job("train", (784, *hidden, 10), batch=batch, steps=steps, threads=threads)


@dataclass(frozen=True)
class Workload:
    """Something to measure."""

    unit: str
    job: Job
    contestants: tuple[Contestant, ...]
    tolerance: float = 1e-2  # of the first loss: sums in another order flip signs near zero
    whole_mnist: bool = False  # needs its files, not just some images


WORKLOADS = {
    "seed-epoch": Workload(
        "epoch", SEED, (OURS, ON_NUMPY, PLAIN, EAGER, COMPILED, JAX, FIT, FUNCTION, THINC), 1e-3
    ),
    "seed-job": Workload("job", replace(SEED, kind="whole"), (OURS, PLAIN, EAGER, JAX),
                     whole_mnist=True),
    "step-3x256": Workload(
        "step", step_job(256, 256, 256, steps=300), (OURS, ON_NUMPY, EAGER, COMPILED, JAX, PRODUCTS)
    ),
    "step-3x1024": Workload(
        "step", step_job(1024, 1024, 1024, steps=30),
        (OURS, ON_NUMPY, EAGER, COMPILED, JAX, PRODUCTS)
    ),
    "step-3x4096": Workload(
        "step", step_job(4096, 4096, 4096, steps=6), (OURS, EAGER, JAX, PRODUCTS)
    ),
    "step-larq-cnn": Workload(
        "step",
        Job("train", (576, 64, 10), convs=(32, 64, 64), pooled=(0, 1), steps=15),
        (OURS, ON_NUMPY, EAGER, CHANNELS_LAST, JAX, FUNCTION, PRODUCTS),
    ),
    "evaluate": Workload(
        "10,000 images", replace(SEED, kind="evaluate", steps=20), (OURS, EAGER, JAX)
    ),
    "load-mnist": Workload("load", replace(SEED, kind="load", steps=1), (OURS, PLAIN),
                       whole_mnist=True),
    "import": Workload("import", replace(SEED, kind="import"), ()),
}  # fmt: skip


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description="minibnn beside its rivals on the CPU.")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS),
                        metavar="WORKLOAD",
                        help=f"any of {', '.join(WORKLOADS)}; default: all")  # fmt: skip
    parser.add_argument("--rivals", nargs="+", choices=("numpy", *RIVALS, "none"), metavar="RIVAL",
                        help="numpy, none, or any of " + ", ".join(RIVALS)
                        + "; default: numpy and all installed")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=5, metavar="N",
                        help="rounds of each session; default: %(default)s")  # fmt: skip
    parser.add_argument("--sessions", type=int, default=3, metavar="N",
                        help="with new processes for everybody; default: %(default)s")  # fmt: skip
    parser.add_argument("--steps", type=int, metavar="N", help="in a turn; default: the workload's")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N",
                        help="of every contestant; default: %(default)s, all cores")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="keep the results there; default: benchmarks/results")  # fmt: skip
    args = parser.parse_args()
    start_even()
    there = [name for name in installed() if name in RIVALS]
    homes = {"minibnn", *(args.rivals or ["numpy", *there])} - {"none"}
    missing = homes - {"minibnn", "numpy", *there}
    if missing:
        parser.error(f"not installed: {', '.join(missing)}; see benchmarks/rivals.py")
    whole = set(args.workloads) == set(WORKLOADS) and not args.steps and not args.rivals
    whole = whole and set(there) == set(RIVALS)
    out = args.out or (RESULTS if whole else None)

    data = load_mnist_or_sample()
    rows: list[Row] = []
    complaints: list[str] = []
    for name in args.workloads:
        print(f"{name} ...", file=sys.stderr, flush=True)
        work = replace(WORKLOADS[name], job=replace(WORKLOADS[name].job, threads=args.threads))
        found, wrong = measure(name, work, homes, (args.sessions, args.repeats), args.steps, data)
        rows += found
        complaints += [f"{name}: {text}" for text in wrong]
        if out is not None and rows:  # after each workload, so that a crash keeps what was measured
            save_run(out, "cpu", pd.DataFrame(rows), homes, args.threads, complaints)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if not rows:
        sys.exit("cpu.py: nothing was measured")
    table = pd.DataFrame(rows)
    print(markdown(table))
    if out is None:
        print("a part of the suite: not kept without --out", file=sys.stderr)
    else:
        draw(table, out / "cpu.png")
    sys.exit(1 if complaints else 0)


def measure(
    name: str,
    work: Workload,
    homes: Iterable[str],
    rounds: tuple[int, int],
    steps: int | None,
    data: ImageDataset,
) -> tuple[list[Row], list[str]]:
    """A workload's rows, and what went wrong; `rounds` are sessions, and repeats in each."""
    sessions, repeats = rounds
    if work.whole_mnist and "sample" in data.name:
        return [], ["left out: it needs the files of MNIST; set MINIBNN_DATA"]
    contestants = [c for c in work.contestants if c.home in homes]
    job = work.job
    if job.kind == "train":
        job = replace(job, steps=min(job.steps, len(data.train_images) // job.batch))
    if steps is not None:
        job = replace(job, steps=steps)
    folder = None
    if "sample" not in data.name:
        folder = Path(os.environ.get("MINIBNN_DATA") or download.cache_folder())
    if job.kind == "import":
        found, wrong = measure_imports(homes, repeats, job.threads)
    elif job.kind == "whole":
        found, wrong = measure_whole(job, contestants, repeats, data, folder)
    else:
        found, wrong = [], []
        for session in range(sessions):
            rows, complaints = race(
                job, contestants, repeats, data, tolerance=work.tolerance, data_folder=folder
            )
            found += [row | {"repeat": session * repeats + row["repeat"]} for row in rows]
            wrong += [text for text in complaints if text not in wrong]
        if name == "seed-epoch":
            found = [row | {"value": row["value"] * job.steps} for row in found]
    return [{"work": name, "unit": f"s/{work.unit}", **row} for row in found], wrong


def measure_whole(
    job: Job,
    contestants: list[Contestant],
    repeats: int,
    data: ImageDataset,
    data_folder: Path | None,
) -> tuple[list[Row], list[str]]:
    """The seed job, cold: seconds, and beside them the peak memory of the same runs."""
    environment = limits(job.threads, data_folder, job.device)
    example = Path(__file__).parent.parent / "examples" / "mnist.py"
    ours = [sys.executable, str(example), "--device", "cpu", "--quiet"]
    rows: list[Row] = []
    complaints: list[str] = []
    with prepared(job, data, 0) as folder:
        # What GPUs run is compiled in the first process that needs it, and kept on the disk.
        for repeat in range(-1 if job.device == "gpu" else 0, repeats):
            start = max(0, repeat) % max(1, len(contestants))
            for contestant in contestants[start:] + contestants[:start]:
                command = ours if contestant is OURS else contestant.command(folder)
                try:
                    seconds, peak = cold_run(command, environment)
                except RaceError as error:
                    complaints.append(str(error))
                    contestants = [c for c in contestants if c is not contestant]
                    continue
                if repeat < 0:
                    continue
                row = {"contestant": contestant.name, "repeat": repeat}
                rows.append(row | {"value": seconds})
                rows.append(row | {"work": "peak-memory", "unit": "MiB", "value": peak})
    return rows, complaints


def measure_imports(
    homes: Iterable[str], repeats: int, threads: int
) -> tuple[list[Row], list[str]]:
    """Imports in fresh processes, timed inside them; each round once, rivals in every third."""
    statements = {
        "minibnn": ("import minibnn", OURS),
        "NumPy": ("import numpy", OURS),
        "in use": (TOUCH, OURS),
    }
    rivals = {}
    for home in sorted(set(homes) & set(MODULES)):
        title, module = MODULES[home]
        rivals[title] = f"import {module}", Contestant(title, home, "")
    environment = os.environ | limits(threads)
    rows: list[Row] = []
    for repeat in range(IMPORT_ROUNDS * repeats):
        taking_part = dict(statements)
        if repeat % IMPORT_ROUNDS == 0:
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
            if name in ("in use", "NumPy"):  # NumPy's time stands beside both
                name = "minibnn" if name == "in use" else name
                rows.append(row | {"work": "import-and-use", "contestant": name})
    return rows, []


if __name__ == "__main__":
    main()
