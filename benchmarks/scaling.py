"""Measure a training step against the width of the network and against the batch size.

    MINIBNN_DATA=... python benchmarks/scaling.py

The networks are those of `cpu.py`'s step workloads, 784-N-N-N-10: N from 64 to 4096 with batches of
100, and batches of 2 (batch norm needs two samples) to 4096 with N = 256. Writes every measurement
to `benchmarks/results/scaling.csv`, its environment to `scaling.json`, and two panels to
`scaling.png`; with `--widths` or `--batches`, only with `--out FOLDER`.

What limits the speed in each region of the stored results (2 cores, AVX-512):

- Batches below 16, widths below 128: the overhead of calls. The lines are flat, and the products
  take an eighth to a third of a step. The rest is the overhead of some eighty array operations, and
  Adam's pass over the weights, which does not depend on the batch.
- Width 256 to 2048, batch 100: the products take 45 to 70 % of a step. The rest are passes over the
  weights (their signs; Adam, which moves 28 bytes per weight), which grow at the same rate.
- Width 4096: weights, gradients and Adam's moments take 0.6 GB, far more than the caches hold, and
  both the products and the passes are limited by memory.
- Batch 64 and more, width 256: the products take 40 to 70 %. The rest are passes over the
  activations (batch norm, signs, the clip).
"""

from __future__ import annotations

import argparse
import os
import sys
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
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N",
                        help="threads of each contestant; default: all cores, %(default)s"
                        )  # fmt: skip
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
    for against, size, width, batch in points:
        print(f"{against} {size} ...", file=sys.stderr, flush=True)
        job = round_of(width, batch, args.threads, len(data.train_images))
        # A sum near zero may get either sign; its sample has the weight 1 / batch in the loss.
        tolerance = max(1e-2, 0.2 / batch)
        found, problems = race(job, contestants, args.rounds, data, tolerance=tolerance)
        rows += [{"against": against, "size": size, **row} for row in found]
        left_out += [f"{against} {size}: {text}" for text in problems]
        if out is not None:
            save_run(out, "scaling", pd.DataFrame(rows), {c.home for c in contestants},
                     args.threads, left_out)  # fmt: skip
    table = pd.DataFrame(rows)
    medians = table.pivot_table("value", ["against", "size"], "contestant", aggfunc="median")
    print((1000 * medians).to_string(float_format="%.3g"))  # in ms
    if out is not None:
        draw(table, out / "scaling.png")
    for text in left_out:
        print(text, file=sys.stderr)
    sys.exit(1 if left_out else 0)


def draw(table: pd.DataFrame, file: Path) -> None:
    """Two log-log panels: the medians, and a band from the first to the third quartile."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed", file=sys.stderr)
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    titles = {"width": "784-N-N-N-10, batch 100", "batch": "784-256-256-256-10"}
    for axes, (against, title) in zip(panels, titles.items(), strict=True):
        part = table[table.against == against]
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
        axes.set(xscale="log", yscale="log", xlabel=against, title=title)
        axes.set_xticks(sorted(set(part["size"])), minor=False)
        axes.minorticks_off()
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.grid(color="0.92")
    panels[0].set_ylabel("ms per training step")
    panels[0].legend(fontsize="small", frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, file, dpi=130)


if __name__ == "__main__":
    main()
