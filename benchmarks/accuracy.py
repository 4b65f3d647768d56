"""Accuracy of the examples' recipes on MNIST: mean and spread over seeds.

    MINIBNN_DATA=... python benchmarks/accuracy.py

Runs every recipe of `examples/mnist.py` and `examples/feedback_alignment.py` on the CPU, once for
each seed, with ten epochs, and writes the figures after the last epoch to
`benchmarks/results/accuracy.json`. The settings of the modern recipe were chosen on a validation
split of the training set (`choose_modern.py`), and no choice was made with the figures here.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples"))

import feedback_alignment  # noqa: E402 (the examples are scripts, not a package)
import mnist  # noqa: E402
import pandas as pd  # noqa: E402
from environment import environment, save  # noqa: E402


def main() -> None:
    """Run the grid and write the table."""
    parser = argparse.ArgumentParser(description="Accuracy of the recipes, over seeds.")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="default: %(default)s")
    args = parser.parse_args()
    runs: dict[str, Callable[[int], pd.DataFrame]] = {
        "seed": lambda seed: mnist.train(
            recipe="seed", dataset="mnist", device="cpu", seed=seed, epochs=args.epochs
        ),
        "modern": lambda seed: mnist.train(
            recipe="modern", dataset="mnist", device="cpu", seed=seed, epochs=args.epochs
        ),
        "feedback-alignment": lambda seed: feedback_alignment.train(seed=seed, epochs=args.epochs),
    }
    rows = []
    for seed in range(args.seeds):
        for name, run in runs.items():
            start = time.perf_counter()
            history = run(seed)
            seconds = time.perf_counter() - start
            if not history.attrs["title"].startswith("MNIST,"):
                sys.exit("accuracy.py: needs the full MNIST files; set MINIBNN_DATA")
            rows.append({"recipe": name, "seed": seed, **history.iloc[-1], "seconds": seconds})
            print(f"{name} {seed}: acc_test {rows[-1]['acc_test']:.4f}", file=sys.stderr)
    table = pd.DataFrame(rows).sort_values(["recipe", "seed"]).round(5)
    save("accuracy", table)
    print(environment())
    print(table.groupby("recipe").acc_test.agg(["mean", "std", "min", "max", "count"]).round(4))


if __name__ == "__main__":
    main()
