"""Measure a training step against the width of the network and against the batch size.

    MINIBNN_DATA=... python benchmarks/scaling.py

The networks are those of `cpu.py`'s step workloads, 784-N-N-N-10: N from 64 to 4096 with batches of
100, and batches of 2 (batch norm needs two samples) to 4096 with N = 256; each on one thread and on
as many as there are cores. Writes every measurement to `benchmarks/results/scaling.csv`, its
environment to `scaling.json`, and a picture to `scaling.png`; with `--widths` or `--batches`, only
with `--out FOLDER`.

`docs/products-on-bits.md` says what limits the speed in each region.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frameworks.products import operations
from harness.contestant import Job
from harness.environment import RESULTS, restart_without_unfair_variables, save_run
from harness.race import race
from harness.rivals import NAMES, installed
from harness.workloads import EAGER, JAX, OURS, PRODUCTS, step_job
from minibnn import load_mnist_or_sample
from minibnn.plots.figure import save_figure

WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
BATCHES = (2, 4, 16, 64, 256, 1024, 4096)
CONTESTANTS = (OURS, EAGER, JAX, PRODUCTS)


def round_of(width: int, batch: int, threads: int, images: int) -> Job:
    """A job whose rounds take about a third of a second, by a rough estimate."""
    one = step_job(width, width, width, batch=batch, steps=1, threads=threads)
    seconds = 1e-3 + operations(one) / 50e9
    steps = int(min(max(0.3 / seconds, 2), 200))
    return step_job(width, width, width, batch=min(batch, images), steps=steps, threads=threads)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        description="Measure a training step against width and batch size."
    )
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS, metavar="N",
                        help="widths at batch 100; default: "
                        + " ".join(map(str, WIDTHS)))  # fmt: skip
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES, metavar="N",
                        help="batch sizes at width 256; default: "
                        + " ".join(map(str, BATCHES)))  # fmt: skip
    parser.add_argument("--rivals", nargs="+", choices=("numpy", *NAMES, "none"), metavar="RIVAL",
                        help="default: numpy and all installed rivals")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, metavar="N",
                        help="rounds per size; default: %(default)s")  # fmt: skip
    parser.add_argument("--repeats", type=int, dest="rounds", default=argparse.SUPPRESS,
                        help=argparse.SUPPRESS)  # the old name of --rounds  # fmt: skip
    cores = sorted({1, os.cpu_count() or 1})
    parser.add_argument("--threads", type=int, nargs="+", default=cores, metavar="N",
                        help="threads of each contestant; default: "
                        + " and ".join(map(str, cores)))  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="write the results there; default: benchmarks/results for a full run, "
                        "nowhere for a partial one")  # fmt: skip
    args = parser.parse_args()
    restart_without_unfair_variables()
    homes = {"minibnn", *(args.rivals or ["numpy", *installed()])} - {"none"}
    contestants = [c for c in CONTESTANTS if c.home in homes]
    full = len(contestants) == len(CONTESTANTS) and not args.rivals
    full = full and (args.widths, args.batches) == (WIDTHS, BATCHES)
    out = args.out or (RESULTS if full else None)

    data = load_mnist_or_sample()
    points = [("width", n, n, 100) for n in args.widths]
    points += [("batch", n, 256, n) for n in args.batches]
    rows = []
    left_out: list[str] = []
    for (against, size, width, batch), threads in product(points, args.threads):
        print(f"{against} {size}, threads {threads} ...", file=sys.stderr, flush=True)
        job = round_of(width, batch, threads, len(data.train_images))
        # A sum near zero may get either sign; its sample has the weight 1 / batch in the loss.
        tolerance = max(1e-2, 0.2 / batch)
        found, problems = race(job, contestants, args.rounds, data, tolerance=tolerance)
        rows += [{"against": against, "size": size, "threads": threads, **row} for row in found]
        left_out += [f"{against} {size}, threads {threads}: {text}" for text in problems]
        if out is not None:
            save_run(out, "scaling", pd.DataFrame(rows), {c.home for c in contestants},
                     args.threads, left_out)  # fmt: skip
    table = pd.DataFrame(rows)
    medians = table.pivot_table(
        "value", ["against", "threads", "size"], "contestant", aggfunc="median"
    )
    print((1000 * medians).to_string(float_format="%.3g"))  # in ms
    if out is not None:
        draw(table, out / "scaling.png")
    for text in left_out:
        print(text, file=sys.stderr)
    sys.exit(1 if left_out else 0)


def draw(table: pd.DataFrame, file: Path) -> None:
    """Log-log panels of medians, with a band from the first to the third quartile.

    A row for each number of threads; against width on the left, against batch size on the right.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed", file=sys.stderr)
        return
    numbers = sorted(set(table.threads))
    figure = Figure(figsize=(9, 3.6 * len(numbers)), layout="constrained")
    panels = figure.subplots(len(numbers), 2, sharey=True, sharex="col", squeeze=False)
    titles = {"width": "784-N-N-N-10, batch 100", "batch": "784-256-256-256-10"}
    for row, threads in zip(panels, numbers, strict=True):
        for axes, (against, title) in zip(row, titles.items(), strict=True):
            part = table[(table.against == against) & (table.threads == threads)]
            for number, (name, mine) in enumerate(part.groupby("contestant", sort=False)):
                quartiles = np.array([0.25, 0.5, 0.75])
                times = 1000 * mine.groupby("size").value.quantile(quartiles).unstack()
                style: dict[str, Any] = (
                    {"color": "0.5", "ls": "--"} if name == PRODUCTS.name else {"marker": "o"}
                )
                style = {"color": f"C{number}", "ms": 4, **style}
                axes.plot(times.index, times[0.5], label=name, **style)
                axes.fill_between(times.index, times[0.25], times[0.75], alpha=0.2,
                                  color=style["color"], lw=0)  # fmt: skip
            axes.set(
                xscale="log", yscale="log", title=f"{title}, {threads} thread" + "s" * (threads > 1)
            )
            axes.set_xticks(sorted(set(part["size"])), minor=False)
            axes.minorticks_off()
            axes.xaxis.set_major_formatter("{x:.0f}")
            axes.grid(color="0.92")
        row[0].set_ylabel("ms per training step")
    for axes, name in zip(panels[-1], ("width N", "batch size"), strict=True):
        axes.set_xlabel(name)
    panels[0, 0].legend(fontsize="small", frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, file, dpi=130)


if __name__ == "__main__":
    main()
