"""Compare the accuracy of a recipe trained on two ranks, in `sum` mode, with that of one process.

    pip install -e ".[mpi]" mpich
    MINIBNN_DATA=... python benchmarks/ranks_accuracy.py

Trains `modern` for each of five seeds by ``Recipe.train(comm=Ranks("sum"))`` on two ranks, and by
``Recipe.train()`` in one process. Both see the same batches, and differ by rounding alone, which a
network of signs makes much of. Prints both means and standard deviations of the accuracy on the
test images, and writes each run to `benchmarks/results/ranks_accuracy.csv`; with other options,
only with `--out FOLDER`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from harness.environment import RESULTS, write_whole
from minibnn import load_mnist_or_sample
from minibnn.distributed import Ranks
from minibnn.recipes import RECIPES

NAME, SEEDS, ON_RANKS = "modern", 5, 2


def accuracies(seeds: int, epochs: int | None, ranks: Ranks | None) -> list[float]:
    """The accuracy on the test images after each training."""
    data = load_mnist_or_sample()
    recipe, found = RECIPES[NAME](), []
    if epochs is not None:
        recipe = replace(recipe, epochs=epochs)
    for seed in range(seeds):
        _, history = recipe.train(data, seed=seed, comm=ranks, progress=False)
        found.append(float(history["acc_test"].iloc[-1]))
    return found


def main() -> None:
    """Train, print, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    seeds = given.seeds or SEEDS
    if given.as_rank:
        ranks = Ranks("sum")
        found = accuracies(seeds, given.epochs, ranks)
        if ranks.first:
            print(*found)
        return
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        raise SystemExit("benchmarks/ranks_accuracy.py: expected mpirun; pip install mpich")
    words = [mpirun, "-n", str(ON_RANKS), sys.executable, __file__, "--as-rank"]
    words += ["--seeds", str(seeds)]
    words += [] if given.epochs is None else ["--epochs", str(given.epochs)]
    one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=one_thread)
    several = [float(word) for word in done.stdout.splitlines()[-1].split()]
    alone = accuracies(seeds, given.epochs, None)
    table = pd.DataFrame({
        "ranks": [ON_RANKS] * seeds + [1] * seeds,
        "seed": [*range(seeds), *range(seeds)],
        "accuracy": several + alone,
    })  # fmt: skip
    print(table.groupby("ranks")["accuracy"].agg(["mean", "std", "count"]).round(4).to_string())
    folder = given.out or (RESULTS if given.seeds is None and given.epochs is None else None)
    if folder is not None:
        write_whole(folder / "ranks_accuracy.csv", table.to_csv(index=False))


if __name__ == "__main__":
    main()
