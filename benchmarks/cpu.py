"""Race minibnn against its rivals on the CPU.

    python benchmarks/install_rivals.py pytorch jax larq thinc    # once
    MINIBNN_DATA=... python benchmarks/cpu.py    # every workload, every installed rival
    python benchmarks/cpu.py --workloads seed-epoch step-3x256 --rivals jax pytorch --rounds 7

Prints a table in Markdown: for each workload and rival the medians, and the ratio minibnn / rival,
which is taken within each round (median and quartiles over the rounds). Training steps and epochs
are raced in several sessions with new processes, because the addresses at which a process allocates
its memory affect its speed for as long as it runs. A full run writes every measurement to
`benchmarks/results/cpu.csv`, its environment to `cpu.json`, and a picture of the ratios to
`cpu.png`. A partial run writes these files only with `--out FOLDER`. `benchmarks/README.md`
explains the workloads.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from harness.environment import (
    INSTRUCTIONS,
    RESULTS,
    restart_without_unfair_variables,
    save_run,
)
from harness.measure import measure
from harness.race import Row
from harness.rivals import installed
from harness.tables import draw, markdown
from harness.workloads import RIVALS, WORKLOADS
from minibnn import load_mnist_or_sample


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description="Race minibnn against its rivals on the CPU.")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS),
                        metavar="WORKLOAD",
                        help=f"any of {', '.join(WORKLOADS)}; default: all")  # fmt: skip
    parser.add_argument("--rivals", nargs="+", choices=("numpy", *RIVALS, "none"), metavar="RIVAL",
                        help="numpy, none, or any of " + ", ".join(RIVALS)
                        + "; default: numpy and all installed rivals")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, metavar="N",
                        help="rounds per session; default: %(default)s")  # fmt: skip
    parser.add_argument("--repeats", type=int, dest="rounds", default=argparse.SUPPRESS,
                        help=argparse.SUPPRESS)  # the old name of --rounds  # fmt: skip
    parser.add_argument("--sessions", type=int, default=3, metavar="N",
                        help="sessions, each with new processes; default: %(default)s")  # fmt: skip
    parser.add_argument("--steps", type=int, metavar="N",
                        help="steps per round; default: as the workload defines")  # fmt: skip
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N",
                        help="threads of each contestant; default: all cores, %(default)s"
                        )  # fmt: skip
    parser.add_argument("--instructions", choices=sorted(INSTRUCTIONS), metavar="SET",
                        help="limit all contestants to " + " or ".join(INSTRUCTIONS)
                        + ", each by its own switch")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="write the results there; default: benchmarks/results for a full run, "
                        "nowhere for a partial one")  # fmt: skip
    args = parser.parse_args()
    restart_without_unfair_variables()
    os.environ.update(INSTRUCTIONS.get(args.instructions, {}))  # contestants inherit it
    there = [name for name in installed() if name in RIVALS]
    homes = {"minibnn", *(args.rivals or ["numpy", *there])} - {"none"}
    missing = homes - {"minibnn", "numpy", *there}
    if missing:
        parser.error(f"not installed: {', '.join(missing)}; see benchmarks/install_rivals.py")
    full = set(args.workloads) == set(WORKLOADS) and not args.steps and not args.rivals
    full = full and not args.instructions
    full = full and set(there) == set(RIVALS)
    out = args.out or (RESULTS if full else None)

    data = load_mnist_or_sample()
    rows: list[Row] = []
    problems: list[str] = []
    for name in args.workloads:
        print(f"{name} ...", file=sys.stderr, flush=True)
        workload = WORKLOADS[name]
        workload = replace(workload, job=replace(workload.job, threads=args.threads))
        found, more = measure(name, workload, homes, (args.sessions, args.rounds), args.steps, data)
        rows += found
        problems += [f"{name}: {text}" for text in more]
        if out is not None and rows:  # after each workload: a crash loses only the current one
            save_run(out, "cpu", pd.DataFrame(rows), homes, args.threads, problems)
    for text in problems:
        print(text, file=sys.stderr)
    if not rows:
        sys.exit("cpu.py: nothing was measured")
    table = pd.DataFrame(rows)
    print(markdown(table))
    if out is None:
        print("a partial run: its results are not saved without --out", file=sys.stderr)
    else:
        draw(table, out / "cpu.png")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
