"""Measure products on bits beside the BLAS's, one thread, on each instruction set of this machine.

    python benchmarks/bits.py                  # five minutes; writes results/bits.csv and bits.json
    python benchmarks/bits.py --shapes 100,1024,1024 64,128,64 --out FOLDER

A product has n rows, k summands and m columns. Its signs are the left operand (a weight gradient,
``x.T dz``), the right one (an input gradient, ``dz W.T``, or the forward product of a first layer),
or both (a forward product). Products on bits and on the BLAS take turns; the table has
medians of the processor time of the thread, with the call from Python, in microseconds.

`COSTS` in `minibnn/backend/cpu/products.py` predicts these times. It is fitted to this table, and
the program prints it anew. It also prints how often the prediction chose the slower one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product as combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.environment import RESULTS, restart_without_unfair_variables, save_run
from harness.turns import restart_on_one_thread, take_turns
from minibnn.backend.cpu import open_library
from minibnn.backend.cpu.c_kernels import INSTRUCTION_SETS, Library
from minibnn.backend.cpu.products import BOTH, LEFT, RIGHT, on_bits, work, worthwhile

KINDS = {"left": LEFT, "right": RIGHT, "both": BOTH}
SHAPES = sorted(
    {
        *combinations((1, 8, 32, 64, 100, 256), (64, 128, 256, 784, 1024), (10, 64, 256, 1024)),
        *combinations((128, 784, 1024), (32, 64, 100, 256), (10, 64, 256, 1024)),
        *combinations((100,), (32, 1024, 4096), (32, 100, 784, 4096)),
        *combinations((64, 1000, 10000), (65,), (33, 64, 100)),
        *((16, 4096, 4096), (4096, 100, 4096), (4096, 100, 784), (1024, 4096, 1024)),
    }
)


def operands(kind: str, n: int, k: int, m: int) -> tuple[Any, Any]:
    """The two operands, stored as in training: a transpose is a view."""
    rng = np.random.default_rng(0)

    def signs(*shape: int) -> Any:
        return np.where(rng.random(shape) < 0.5, np.float32(-1), np.float32(1))

    def reals(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    if kind == "left":
        return signs(k, n).T, reals(k, m)
    if kind == "right":
        return reals(n, k), signs(m, k).T
    return signs(n, k), signs(k, m)


def measure(shapes: list[tuple[int, ...]], seconds: float) -> Iterator[dict[str, Any]]:
    """Rows of the table."""
    library = open_library()
    if library is None:
        raise SystemExit("bits: expected C kernels, found none; see CONTRIBUTING.md")
    there = INSTRUCTION_SETS[: library.minibnn_instruction_set() + 1]
    for kind, (n, k, m) in combinations(KINDS, shapes):
        a, b = operands(kind, n, k, m)
        out = np.empty((n, m), np.float32)
        calls: list[Callable[[], Any]] = [partial(np.matmul, a, b, out=out)]
        for name in there:
            calls.append(partial(on_bits, Library(library, name), a, b, out, KINDS[kind]))
        blas, *bits = (float(np.median(spent)) for spent in take_turns(calls, seconds))
        for name, spent in zip(there, bits, strict=True):
            yield {
                "instructions": name, "signs": kind, "n": n, "k": k, "m": m,
                "bits": spent, "blas": blas, "ratio": spent / blas,
                "chosen": bool(worthwhile(name, n, k, m) & KINDS[kind]),
            }  # fmt: skip


def fit(table: pd.DataFrame) -> dict[tuple[str, str], list[float]]:
    """Costs in nanoseconds for each unit of `work`, by instruction set and kind.

    The squares of the relative errors are least, among costs that are not negative.
    """
    costs = {}
    for (name, kind), rows in table.groupby(["instructions", "signs"]):
        units = [work(KINDS[str(kind)], *shape) for shape in rows[["n", "k", "m"]].to_numpy()]
        X = np.array(units) / (1e3 * rows["bits"].to_numpy()[:, None])
        used = list(range(X.shape[1]))
        while True:
            found = np.linalg.lstsq(X[:, used], np.ones(len(X)), rcond=None)[0]
            if (found >= 0).all():
                break
            del used[int(found.argmin())]
        least = np.zeros(X.shape[1])
        least[used] = found
        costs[str(name), str(kind)] = [float(f"{v:.3g}") for v in least]
    return costs


def main() -> None:
    """Measure, store, and print the costs and the errors of the choice."""
    parser = argparse.ArgumentParser(description="Measure products on bits beside the BLAS's.")
    parser.add_argument("--shapes", nargs="+", metavar="n,k,m", default=SHAPES,
                        type=lambda text: tuple(map(int, text.split(","))),
                        help="sizes of products; default: those in the program")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=0.3, metavar="S",
                        help="for each product; default: %(default)s")  # fmt: skip
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER",
                        help="for the two files; default: benchmarks/results")  # fmt: skip
    args = parser.parse_args()
    restart_on_one_thread()
    restart_without_unfair_variables()
    table = pd.DataFrame(measure(args.shapes, args.seconds))
    save_run(args.out, "bits", table, [], 1, [])
    for key, costs in fit(table).items():
        print(f"    {key}: {tuple(costs)},")
    for (name, kind), rows in table.groupby(["instructions", "signs"], sort=False):
        chosen, left = rows[rows.chosen], rows[~rows.chosen]
        print(
            f"{name}, {kind}: {len(chosen)} of {len(rows)} on bits, "
            f"ratios {chosen.ratio.min():.2f} to {chosen.ratio.max():.2f}, "
            f"{(chosen.ratio > 1.05).sum()} above 1.05; "
            f"the best that went to the BLAS {left.ratio.min():.2f}"
        )


if __name__ == "__main__":
    main()
