"""Measure the forms of a trained 784-128-64-10 network: latency, memory and size.

    python benchmarks/install_rivals.py pytorch onnx  # once
    MINIBNN_DATA=... python benchmarks/deploy.py      # every form, batches of 1 and 1000
    python benchmarks/deploy.py --rivals none --batches 1 --rounds 5

Trains the recipe for a few epochs, packs it, and writes it in every form. Then the forms race, each
in a process and an environment of its own, in rotating order. Prints a table in Markdown with
medians, quartiles, and the ratio compiled C / form, which is the median over the rounds. A full run
writes every measurement to `benchmarks/results/deploy.csv` and its environment to `deploy.json`; a
partial run writes them only with `--out FOLDER`.

Latency: the time of a call, from images as the form's users hold them (arrays or tensors of bytes)
to labels. All forms get the same 1000 test images; with batches of 1, each call gets the next
image. A form is excluded if more than one label in a hundred differs from the packed model's. The
compiled C and the bit products of packed NumPy use one core, whatever `--threads` says.

Shipped, in bytes: the code and constants of one call (C); the file with its header (packed model,
ONNX); all parameters and buffers, which include four batch norm values per channel (minibnn's float
model); the weights and one bias per channel, with batch norm folded in (the other floats). All
floats are float32. `inspect` and `pack` count one number per threshold and two per class.

Memory: the peak growth of a process, from the end of its imports and the loading of the images
until it has loaded the network and answered 1000 images at once and one image alone. The libraries
do not count, but their later allocations do. Measured on Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from deployment.compiled_c import compiler
from deployment.form import Task
from deployment.write_forms import FORMS, IMAGES, C, tidy, write_forms
from harness.environment import RESULTS, restart_without_unfair_variables, save_run
from harness.race import Contestant, RaceError, Row, Worker, limits, run_rounds
from harness.rivals import installed
from harness.tables import quantity
from minibnn import load_mnist_or_sample, pack
from minibnn.recipes import RECIPES

RIVALS = ("onnx", "pytorch")
BATCHES = (1, IMAGES)
CALLS = {1: 2000, IMAGES: 20}  # per round
MEMORY_ROUNDS = 3
TOLERANCE = 0.01
SHIPPED = (
    "Shipped: C: code and constants; packed NumPy and ONNX Runtime: the file; minibnn's float "
    "model: parameters and buffers; other floats: weights and biases with batch norm folded in."
)


def main() -> None:
    """Train, pack, measure, print."""
    parser = argparse.ArgumentParser(
        description="Measure the forms of a trained network: latency, memory and size."
    )
    parser.add_argument("--recipe", choices=("modern", "seed"), default="modern",
                        help="default: %(default)s")  # fmt: skip
    parser.add_argument("--epochs", type=int, default=3, metavar="N",
                        help="epochs of training; default: %(default)s")  # fmt: skip
    parser.add_argument("--batches", type=int, nargs="+", choices=BATCHES, default=list(BATCHES),
                        help="batch sizes; default: both")  # fmt: skip
    parser.add_argument("--threads", type=int, nargs="+", default=None, metavar="N",
                        help="threads of each form; default: 1, and 2 with two cores")  # fmt: skip
    parser.add_argument("--rivals", nargs="+", choices=(*RIVALS, "none"), metavar="RIVAL",
                        help="none, or any of " + ", ".join(RIVALS)
                        + "; default: all installed")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="default: %(default)s")
    parser.add_argument("--repeats", type=int, dest="rounds", default=argparse.SUPPRESS,
                        help=argparse.SUPPRESS)  # the old name of --rounds  # fmt: skip
    parser.add_argument("--calls", type=int, metavar="N", help="calls per round; default: "
                        + ", ".join(f"{n} of batch {b}" for b, n in CALLS.items()))  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="write the results there; default: benchmarks/results for a full run, "
                        "nowhere for a partial one")  # fmt: skip
    args = parser.parse_args()
    restart_without_unfair_variables()
    cores = os.cpu_count() or 1
    threads: list[int] = args.threads or [n for n in (1, 2) if n <= cores]
    there = [name for name in installed() if name in RIVALS]
    homes = {"minibnn", "numpy", *(args.rivals or there)} - {"none"}
    missing = homes - {"minibnn", "numpy", *there}
    if missing:
        parser.error(f"not installed: {', '.join(missing)}; see benchmarks/install_rivals.py")

    data = load_mnist_or_sample()
    print(f"{args.recipe}: {args.epochs} epochs of {data.name} ...", file=sys.stderr, flush=True)
    model, _ = RECIPES[args.recipe]().train(data, epochs=args.epochs, progress=False)
    packed = pack(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        left_out = write_forms(folder, model, packed, data)
        forms = [f for f in FORMS if f.home in homes and f.module not in left_out]
        forms = [f for f in forms if (f.module, f.form) not in left_out]
        full = len(forms) == len(FORMS) and set(args.batches) == set(BATCHES)
        full = full and not args.calls and not args.threads
        out = args.out or (RESULTS if full else None)
        problems: list[str] = []
        rows: list[Row] = []
        for batch in args.batches:
            for n in threads:
                print(f"batch {batch}, {n} threads ...", file=sys.stderr, flush=True)
                calls = args.calls or CALLS[batch]
                Task(args.recipe, batch, calls, n).write(folder)
                found, more = run_rounds(folder, forms, args.rounds, limits(n), calls, TOLERANCE)
                where: Row = {"work": "latency", "batch": batch, "threads": n, "unit": "s/call"}
                rows += [where | tidy(row) for row in found]
                problems += [f"batch {batch}, {n} threads: {text}" for text in more]
        if Path("/proc/self/clear_refs").exists():
            print("memory ...", file=sys.stderr, flush=True)
            Task(args.recipe, 1, 0, 1).write(folder)
            found, more = measure_memory(folder, forms, min(args.rounds, MEMORY_ROUNDS))
            where = {"work": "memory", "batch": IMAGES, "threads": 1, "unit": "MiB"}
            rows += [where | row for row in found]
            problems += [f"memory: {text}" for text in more]
    for text in (*left_out.values(), *problems):
        print(text, file=sys.stderr)
    table = pd.DataFrame(rows)
    if out is not None:
        about = {"recipe": args.recipe, "epochs": args.epochs, "images": data.name}
        save_run(out, "deploy", table, homes, threads, [*left_out.values(), *problems],
                 compiler=compiler_version(),
                 packed_bytes=packed.nbytes, **about)  # fmt: skip
    print(markdown(table))
    if out is None:
        print("a partial run: its results are not saved without --out", file=sys.stderr)
    sys.exit(1 if problems else 0)


def measure_memory(
    folder: Path, forms: Iterable[Contestant], rounds: int
) -> tuple[list[Row], list[str]]:
    """Measure the memory growth of a fresh process for each form."""
    rows: list[Row] = []
    problems = []
    for form in forms:
        for repeat in range(rounds + 1):  # the first one may compile, and does not count
            worker = Worker(form, folder, limits(1))
            try:
                growth, agreement, shipped = worker.run_round()
            except RaceError as error:
                problems.append(str(error))
                break
            finally:
                worker.close()
            row = {"contestant": form.name, "repeat": repeat - 1, "value": growth / 2**20}
            rows += [row | {"agreement": agreement, "shipped": shipped}] if repeat else []
    return rows, problems


def markdown(table: pd.DataFrame) -> str:
    """Two tables: the latency in each setting, and the size and memory of each form."""
    lines = [
        "| batch | threads | form | time of a call (quartiles) | compiled C / form |",
        "|" + 5 * "---|",
    ]
    latency = table[table.work == "latency"]
    for setting in latency[["batch", "threads"]].drop_duplicates().itertuples(index=False):
        rows = latency[(latency[["batch", "threads"]] == list(setting)).all(axis=1)]
        values = rows.pivot(index="repeat", columns="contestant", values="value")
        for name in rows.contestant.unique():
            low, middle, high = (quantity(values[name].quantile(q), "s") for q in (0.25, 0.5, 0.75))
            ratio = ""
            if C.name in values and name != C.name:
                pairs = (values[C.name] / values[name]).dropna()
                ends = f"{pairs.quantile(0.25):.3g} to {pairs.quantile(0.75):.3g}"
                ratio = f"{pairs.median():.3g} ({ends})"
            cells = [*map(str, setting), name, f"{middle} ({low} to {high})", ratio]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| form | shipped | memory | labels that differ |", "|---|---|---|---|"]
    memory = table[table.work == "memory"]
    for name in memory.contestant.unique():
        rows = memory[memory.contestant == name]
        others = round(IMAGES * (1 - rows.agreement.min()))
        grown = f"{rows.value.median():.2f} MiB"
        lines.append(f"| {name} | {int(rows.shipped.iloc[0]):,} bytes | {grown} | {others} |")
    return "\n".join([*lines, "", SHIPPED])


def compiler_version() -> str:
    """The first line of the C compiler's version."""
    cc = compiler()
    if cc is None:
        return ""
    done = subprocess.run([cc, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


if __name__ == "__main__":
    main()
