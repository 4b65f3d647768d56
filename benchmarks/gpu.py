"""minibnn beside PyTorch and JAX on one NVIDIA GPU: the same work, turn by turn.

    MINIBNN_DATA=... python benchmarks/gpu.py               # every workload, float32 throughout
    MINIBNN_DATA=... python benchmarks/gpu.py --tf32 on     # TF32 allowed to everybody
    python benchmarks/gpu.py --workloads seed-epoch --repeats 3 --out FOLDER
    python benchmarks/gpu.py --device cpu --steps 2 --repeats 1    # a dry run without a GPU

As `cpu.py`: own processes, the same start, the same batches, rotating turns, ratios within rounds.
Beside each figure stands the floor: what the workload's bytes and operations take at the rates of a
large copy and of large products, which are measured in the same run (`floor.py`). A whole run
writes every turn to `benchmarks/results/gpu.csv`, what it ran on to `gpu.json` and the ratios as a
picture to `gpu.png`; with `--tf32 on` to `gpu_tf32.*`. A run of parts does so with `--out FOLDER`.
`benchmarks/README.md` says what each workload is and where the rivals come from.
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
from cpu import MODULES, measure
from environment import RESULTS, save_run, start_even
from floor import Ceilings, floor, measure_ceilings, needs
from gpu_works import BASE, CAPTURING, LOSS, RIVALS, WORKLOADS, measure_packed
from race import Contestant, Row
from rivals import has, python_of, versions
from tables import draw, quantity, ratios

from minibnn import DeviceError, ImageDataset, get_backend, load_mnist_or_sample

FLOOR = "floor"


def main() -> None:
    """Measure, and write the results."""
    args = arguments()
    if args.device == "gpu":
        try:
            get_backend("gpu")
        except DeviceError as error:
            print(f"gpu.py: {error}", file=sys.stderr)
            sys.exit(4)
    start_even()
    if args.device == "cpu":
        print("a dry run on the CPU: its figures say nothing of a GPU", file=sys.stderr)
    pythons = find_rivals(args.rivals_python, args.rivals)
    lacking = set(args.rivals or ()) - set(pythons) - {"none"}
    if lacking:
        sys.exit(f"gpu.py: not found: {', '.join(sorted(lacking))}; see benchmarks/README.md")
    whole = set(args.workloads) == set(WORKLOADS) and set(pythons) == set(RIVALS)
    whole = whole and not args.steps and args.device == "gpu"
    out = args.out or (RESULTS if whole else None)
    data = load_mnist_or_sample()
    wrong: list[str] = []
    for setting in ("off", "on") if args.tf32 == "both" else (args.tf32,):
        wrong += run(args, setting == "on", pythons, data, out)
    if out is None:
        print("not kept: a part of the suite, without --out", file=sys.stderr)
    sys.exit(1 if wrong else 0)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="minibnn beside its rivals on a GPU.")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu",
                        help="cpu is a dry run, whose figures are no results")  # fmt: skip
    parser.add_argument("--tf32", choices=("off", "on", "both"), default="off",
                        help="for everybody's float32 products; default: %(default)s")  # fmt: skip
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS),
                        metavar="WORKLOAD",
                        help=f"any of {', '.join(WORKLOADS)}; default: all")  # fmt: skip
    parser.add_argument(
        "--rivals",
        nargs="+",
        choices=(*RIVALS, "none"),
        metavar="RIVAL",
        help=f"none, or any of {', '.join(RIVALS)}; default: all found",
    )
    parser.add_argument("--rivals-python", type=Path, metavar="PATH",
                        help="the interpreter that has them; default: benchmarks/.rivals, or else "
                        "the one that runs this")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=7, metavar="N",
                        help="rounds of each session; default: %(default)s")  # fmt: skip
    parser.add_argument("--sessions", type=int, default=1, metavar="N",
                        help="with new processes for everybody; default: %(default)s")  # fmt: skip
    parser.add_argument("--steps", type=int, metavar="N", help="in a turn; default: the workload's")
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="begin no workload later than that, and say what was left out",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="keep the results there; default: benchmarks/results")  # fmt: skip
    args = parser.parse_args()
    for name in ("repeats", "sessions", "steps", "minutes"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            parser.error(f"--{name}: expected a positive number, got {value}")
    out = (args.out or Path()).resolve()
    if args.device == "cpu" and RESULTS.resolve() in (out, *out.parents):
        parser.error("--out: a dry run on the CPU is no result of a GPU; take another folder")
    return args


def run(
    args: argparse.Namespace,
    tf32: bool,
    pythons: Mapping[str, Path],
    data: ImageDataset,
    out: Path | None,
) -> list[str]:
    """All workloads with one setting of TF32: measure, keep, print; return what went wrong."""
    start = time.monotonic()
    setting = "on" if tf32 else "off"
    ceilings, device = measure_ceilings(args.device)
    rows: list[Row] = []
    wrong: list[str] = []
    wanted: dict[str, Any] = {}
    for name in args.workloads:
        gone = time.monotonic() - start
        if args.minutes and gone > 60 * args.minutes:
            wrong.append(f"{name}: left out after {gone / 60:.1f} minutes")
            continue
        print(f"TF32 {setting}, {name}, after {gone:.0f} s ...", file=sys.stderr, flush=True)
        work = WORKLOADS[name]
        job = replace(work.job, device=args.device, tf32=tf32, threads=os.cpu_count() or 1)
        if job.kind == "train":
            most = len(data.train_images) // job.batch
            job = replace(job, steps=min(args.steps or job.steps, most))
        racing, absent = contestants(work.contestants, pythons, args.device)
        if args.device == "cpu":
            for text in absent:
                print(f"{name}: {text}", file=sys.stderr)
        work = replace(work, job=job, contestants=racing, tolerance=LOSS)
        if job.kind == "predict":
            found, wrong_here = measure_packed(name, work, args.repeats, args.steps, data)
        else:
            repeats = min(args.repeats, 2) if job.kind == "whole" else args.repeats
            homes = {c.home for c in racing}
            rounds = (args.sessions, repeats)
            found, wrong_here = measure(name, work, homes, rounds, args.steps, data)
        seconds, by = floor(job, ceilings)
        units = job.steps if work.unit == "epoch" else 1
        more = {"tf32": setting, "floor": seconds * units, "floor_by": by}
        rows += [row | more for row in found if row["work"] == name]
        wrong += [f"{name}: {text}" for text in wrong_here]
        wanted[name] = needs(job)._asdict() | {"per": "step" if job.kind == "train" else work.unit}
        if out is not None and rows:  # after each workload, so that a run cut short keeps the rest
            save_run(
                out, file_name(tf32), pd.DataFrame(rows), (), os.cpu_count() or 1, wrong,
                device=args.device, tf32=setting, **device, needs=wanted,
                minibnn_backend=type(get_backend(args.device)).__name__,
                rivals={home: versions(home, python) for home, python in pythons.items()},
                images=data.name,
            )  # fmt: skip
    for text in wrong:
        print(text, file=sys.stderr)
    if not rows:
        return [*wrong, "nothing was measured"]
    print(markdown(pd.DataFrame(rows), ceilings))
    if out is not None:
        picture(pd.DataFrame(rows), out / f"{file_name(tf32)}.png")
    return wrong


def file_name(tf32: bool) -> str:
    """Of the results: a file has one setting."""
    return "gpu_tf32" if tf32 else "gpu"


def find_rivals(given: Path | None, wanted: Sequence[str] | None) -> dict[str, Path]:
    """Each rival's interpreter: the given one, its environment's, or the one that runs this."""
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
    """Those that can take part, with their interpreters, and words about those that cannot."""
    racing, absent = [], []
    for contestant in named:
        if contestant.home != "minibnn" and contestant.home not in pythons:
            continue
        if device == "cpu" and contestant in CAPTURING:
            absent.append(f"{contestant.name} left out: the CPU has no CUDA graphs")
            continue
        racing.append(replace(contestant, interpreter=pythons.get(contestant.home)))
    return tuple(racing), absent


def with_floor(table: pd.DataFrame) -> pd.DataFrame:
    """The turns, and in each round one of a contestant that takes the floor's time."""
    first = table.drop_duplicates(["work", "repeat"])
    return pd.concat([table, first.assign(contestant=FLOOR, value=first.floor)])


def markdown(table: pd.DataFrame, ceilings: Ceilings | None = None) -> str:
    """For each workload and contestant its time, minibnn's beside it, and the floor."""
    lines = [f"TF32 {', '.join(table.tf32.unique())}."]
    if ceilings is not None:
        rates = f"{ceilings.copy / 1e9:.0f} GB/s, float32 {ceilings.float32 / 1e12:.3g}"
        rates += f", TF32 {ceilings.tf32 / 1e12:.3g}, float16 {ceilings.float16 / 1e12:.3g} Tflop/s"
        lines[0] += f" Measured in this run: a copy {rates}."
    lines += ["", "| work | contestant | time (quartiles) | minibnn / contestant "
              "| floor | time / floor |", "|" + 6 * "---|"]  # fmt: skip
    against = ratios(table, BASE)
    for work in table.work.unique():
        rows = table[table.work == work]
        seconds, by = rows.floor.iloc[0], rows.floor_by.iloc[0]
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
    """The ratios, the floor's among them."""
    draw(with_floor(table), file, BASE)


if __name__ == "__main__":
    main()
