"""Race minibnn against PyTorch and JAX on one NVIDIA GPU.

    MINIBNN_DATA=... python benchmarks/gpu.py               # every workload, float32 throughout
    MINIBNN_DATA=... python benchmarks/gpu.py --tf32 on     # TF32 for all contestants
    python benchmarks/gpu.py --workloads seed-epoch --rounds 3 --out FOLDER
    python benchmarks/gpu.py --device cpu --steps 2 --rounds 1    # a dry run without a GPU

The rules are those of `cpu.py`: separate processes, the same initial weights and batches, rotating
order, ratios within rounds. The table also shows the roofline: the least time that the workload's
bytes and operations take, at the rates of a large copy and of large matrix products, which the same
run measures (`harness/roofline.py`). A full run writes every measurement to
`benchmarks/results/gpu.csv`, its environment to `gpu.json` and a picture of the ratios to
`gpu.png`; with `--tf32 on` to `gpu_tf32.*`. A partial run writes these files only with
`--out FOLDER`. `benchmarks/README.md` explains the workloads and how to install the rivals.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.environment import RESULTS, restart_without_unfair_variables, save_run
from harness.gpu_workloads import (
    BASE,
    CAPTURING,
    LOSS_TOLERANCE,
    RIVALS,
    WORKLOADS,
    measure_packed,
)
from harness.measure import measure
from harness.race import Contestant, Row
from harness.rivals import has, python_of, versions
from harness.roofline import Ceilings, least_time, measure_ceilings, needs
from harness.tables import draw, quantity, ratios
from harness.workloads import MODULES
from minibnn import DeviceError, ImageDataset, get_backend, load_mnist_or_sample

ROOFLINE = "roofline"


def main() -> None:
    """Measure, and write the results."""
    args = arguments()
    if args.device == "gpu":
        try:
            get_backend("gpu")
        except DeviceError as error:
            print(f"gpu.py: {error}", file=sys.stderr)
            sys.exit(4)
    restart_without_unfair_variables()
    if args.device == "cpu":
        print("a dry run on the CPU: its figures say nothing about a GPU", file=sys.stderr)
    pythons = find_rivals(args.rivals_python, args.rivals)
    missing = set(args.rivals or ()) - set(pythons) - {"none"}
    if missing:
        sys.exit(f"gpu.py: not installed: {', '.join(sorted(missing))}; see benchmarks/README.md")
    full = set(args.workloads) == set(WORKLOADS) and set(pythons) == set(RIVALS)
    full = full and not args.steps and args.device == "gpu"
    out = args.out or (RESULTS if full else None)
    data = load_mnist_or_sample()
    problems: list[str] = []
    for setting in ("off", "on") if args.tf32 == "both" else (args.tf32,):
        problems += run(args, setting == "on", pythons, data, out)
    if out is None:
        print("a partial run: its results are not saved without --out", file=sys.stderr)
    sys.exit(1 if problems else 0)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Race minibnn against PyTorch and JAX on an NVIDIA GPU."
    )
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu",
                        help="cpu is a dry run: it measures nothing about a GPU; "
                        "default: %(default)s")  # fmt: skip
    parser.add_argument("--tf32", choices=("off", "on", "both"), default="off",
                        help="whether float32 products may be rounded to TF32; "
                        "default: %(default)s")  # fmt: skip
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS),
                        metavar="WORKLOAD",
                        help=f"any of {', '.join(WORKLOADS)}; default: all")  # fmt: skip
    parser.add_argument(
        "--rivals",
        nargs="+",
        choices=(*RIVALS, "none"),
        metavar="RIVAL",
        help=f"none, or any of {', '.join(RIVALS)}; default: all installed",
    )
    parser.add_argument("--rivals-python", type=Path, metavar="PATH",
                        help="the Python that has the rivals; default: benchmarks/.rivals, or "
                        "else the Python that runs this script")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=7, metavar="N",
                        help="rounds per session; default: %(default)s")  # fmt: skip
    parser.add_argument("--repeats", type=int, dest="rounds", default=argparse.SUPPRESS,
                        help=argparse.SUPPRESS)  # the old name of --rounds  # fmt: skip
    parser.add_argument("--sessions", type=int, default=1, metavar="N",
                        help="sessions, each with new processes; default: %(default)s")  # fmt: skip
    parser.add_argument("--steps", type=int, metavar="N",
                        help="steps per round; default: as the workload defines")  # fmt: skip
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="start no workload after N minutes, and report those left out",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="write the results there; default: benchmarks/results for a full run, "
                        "nowhere for a partial one")  # fmt: skip
    args = parser.parse_args()
    for name in ("rounds", "sessions", "steps", "minutes"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            parser.error(f"--{name}: expected a positive number, got {value}")
    out = (args.out or Path()).resolve()
    if args.device == "cpu" and RESULTS.resolve() in (out, *out.parents):
        parser.error("--out: a dry run on the CPU is not a result of a GPU; choose another folder")
    return args


def run(
    args: argparse.Namespace,
    tf32: bool,
    pythons: Mapping[str, Path],
    data: ImageDataset,
    out: Path | None,
) -> list[str]:
    """Measure, save and print all workloads with one setting of TF32; return the problems."""
    start = time.monotonic()
    setting = "on" if tf32 else "off"
    ceilings, device = measure_ceilings(args.device)
    rows: list[Row] = []
    problems: list[str] = []
    wanted: dict[str, Any] = {}
    for name in args.workloads:
        elapsed = time.monotonic() - start
        if args.minutes and elapsed > 60 * args.minutes:
            problems.append(f"{name}: left out after {elapsed / 60:.1f} minutes")
            continue
        print(f"TF32 {setting}, {name}, after {elapsed:.0f} s ...", file=sys.stderr, flush=True)
        workload = WORKLOADS[name]
        job = replace(workload.job, device=args.device, tf32=tf32, threads=os.cpu_count() or 1)
        if job.kind == "train":
            most = len(data.train_images) // job.batch
            job = replace(job, steps=min(args.steps or job.steps, most))
        racing, absent = contestants(workload.contestants, pythons, args.device)
        if args.device == "cpu":
            for text in absent:
                print(f"{name}: {text}", file=sys.stderr)
        workload = replace(workload, job=job, contestants=racing, tolerance=LOSS_TOLERANCE)
        if job.kind == "predict":
            found, more = measure_packed(name, workload, args.rounds, args.steps, data)
        else:
            rounds = min(args.rounds, 2) if job.kind == "whole" else args.rounds
            homes = {c.home for c in racing}
            found, more = measure(name, workload, homes, (args.sessions, rounds), args.steps, data)
        seconds, by = least_time(job, ceilings)
        units = job.steps if workload.unit == "epoch" else 1
        columns = {"tf32": setting, "roofline": seconds * units, "roofline_by": by}
        rows += [row | columns for row in found if row["work"] == name]
        problems += [f"{name}: {text}" for text in more]
        wanted[name] = needs(job)._asdict() | {
            "per": "step" if job.kind == "train" else workload.unit
        }
        if out is not None and rows:  # after each workload: a crash loses only the current one
            save_run(
                out, file_name(tf32), pd.DataFrame(rows), (), os.cpu_count() or 1, problems,
                device=args.device, tf32=setting, **device, needs=wanted,
                minibnn_backend=type(get_backend(args.device)).__name__,
                rivals={home: versions(home, python) for home, python in pythons.items()},
                images=data.name,
            )  # fmt: skip
    for text in problems:
        print(text, file=sys.stderr)
    if not rows:
        return [*problems, "nothing was measured"]
    print(markdown(pd.DataFrame(rows), ceilings))
    if out is not None:
        picture(pd.DataFrame(rows), out / f"{file_name(tf32)}.png")
    return problems


def file_name(tf32: bool) -> str:
    """The name of the results' files, without the ending."""
    return "gpu_tf32" if tf32 else "gpu"


def find_rivals(given: Path | None, wanted: Sequence[str] | None) -> dict[str, Path]:
    """Each rival's Python: the given one, its environment's, or the one that runs this script."""
    found = {}
    for home in RIVALS:
        module = MODULES[home][1]
        if wanted is not None and home not in wanted:
            continue
        if given is not None:
            if has(given, module):
                found[home] = given
        elif python_of(home).exists():
            found[home] = python_of(home)
        elif importlib.util.find_spec(module) is not None:
            found[home] = Path(sys.executable)
    return found


def contestants(
    named: Sequence[Contestant], pythons: Mapping[str, Path], device: str
) -> tuple[tuple[Contestant, ...], list[str]]:
    """The contestants that can take part, and a message for each that the device excludes."""
    racing, absent = [], []
    for contestant in named:
        if contestant.home != "minibnn" and contestant.home not in pythons:
            continue
        if device == "cpu" and contestant in CAPTURING:
            absent.append(f"{contestant.name} left out: the CPU has no CUDA graphs")
            continue
        racing.append(replace(contestant, interpreter=pythons.get(contestant.home)))
    return tuple(racing), absent


def with_roofline(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the roofline as another contestant."""
    first = table.drop_duplicates(["work", "repeat"])
    return pd.concat([table, first.assign(contestant=ROOFLINE, value=first.roofline)])


def markdown(table: pd.DataFrame, ceilings: Ceilings | None = None) -> str:
    """For each workload and contestant: its time, the ratio to minibnn's, and the roofline."""
    lines = [f"TF32 {', '.join(table.tf32.unique())}."]
    if ceilings is not None:
        rates = f"{ceilings.copy / 1e9:.0f} GB/s, float32 {ceilings.float32 / 1e12:.3g}"
        rates += f", TF32 {ceilings.tf32 / 1e12:.3g}, float16 {ceilings.float16 / 1e12:.3g} Tflop/s"
        lines[0] += f" Rates measured in this run: copy {rates}."
    lines += ["", "| workload | contestant | time (quartiles) | minibnn / contestant "
              "| roofline | time / roofline |", "|" + 6 * "---|"]  # fmt: skip
    against = ratios(table, BASE)
    for work in table.work.unique():
        rows = table[table.work == work]
        seconds, by = rows.roofline.iloc[0], rows.roofline_by.iloc[0]
        for name in rows.contestant.unique():
            values = rows[rows.contestant == name].value
            low, middle, high = (quantity(values.quantile(q), "s") for q in (0.25, 0.5, 0.75))
            ratio = ""
            if len(against):
                pair: Any = against[(against.work == work) & (against.rival == name)]
                if len(pair) and pair.base.iloc[0] != name:
                    one = pair.iloc[0]
                    ratio = f"{one.ratio:.2f} ({one.low:.2f} to {one.high:.2f})"
            cells = [
                work,
                name,
                f"{middle} ({low} to {high})",
                ratio,
                f"{quantity(seconds, 's')} ({by})",
                f"{values.median() / seconds:.3g}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(table: pd.DataFrame, file: Path) -> None:
    """Draw the ratios, and that of the roofline."""
    draw(with_roofline(table), file, BASE)


if __name__ == "__main__":
    main()
