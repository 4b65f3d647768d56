"""Train recipes on several numbers of ranks, and compare every byte of the results.

    pip install -e ".[mpi]" mpich
    MINIBNN_DATA=... python benchmarks/ranks_agree.py

Trains one epoch of each recipe by ``Recipe.train(comm=Ranks("exact"))`` on 1, 2, 3, 4 and 8 ranks,
with the MPI of the environment it runs in, and prints a digest of all parameters, buffers and
numbers of the history. Then it kills one of 3 ranks in the middle, and resumes with 2. All
digests of a recipe have to be the same; otherwise the exit code is 1. Writes or extends
`benchmarks/results/ranks_agree.csv`; with `--images` or `--recipes`, only with `--out FOLDER`. To
repeat it with another MPI, run it in another environment: its rows are added.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd

from harness.environment import RESULTS, write_whole
from minibnn import Checkpoint, load_mnist_or_sample
from minibnn.distributed import Ranks
from minibnn.recipes import RECIPES

NAMES, RANKS = ("seed", "modern", "larq-cnn"), (1, 2, 3, 4, 8)
IMAGES = {"larq-cnn": 12_000}  # of the training set: an epoch of all of them takes minutes
KILLED, RESUMED = 3, 2


def train(name: str, images: int | None, checkpoint: str | None, kill: bool) -> None:
    """Run as one rank: rank 0 prints the library of MPI and the digest."""
    from mpi4py import MPI

    data = load_mnist_or_sample()
    if images is not None:
        data = replace(
            data, train_images=data.train_images[:images], train_labels=data.train_labels[:images]
        )
    ranks = Ranks("exact")
    if kill and checkpoint is not None and ranks.rank == ranks.size - 1:
        threading.Thread(target=end_after, args=(Path(checkpoint),), daemon=True).start()
    saved = None if checkpoint is None else Checkpoint(checkpoint, "2steps", resume=True)
    model, history = RECIPES[name]().train(
        data, epochs=1, held_out=0, comm=ranks, progress=False, checkpoint=saved
    )
    digest = hashlib.sha256()
    arrays = [p.data for p in model.parameters()] + [b.data for b in model.buffers()]
    for array in arrays:
        digest.update(array.tobytes())
    digest.update(history.to_numpy().tobytes())
    if ranks.first:
        print(" ".join(MPI.Get_library_version().split(",")[0].splitlines()[0].split()))
        print(digest.hexdigest())


def end_after(file: Path) -> None:
    """Kill this process as soon as there is a checkpoint."""
    while not file.exists():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def command(name: str, ranks: int, images: int | None, checkpoint: Path | None) -> list[str]:
    """The command of a training."""
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        raise SystemExit("benchmarks/ranks_agree.py: expected mpirun, got none; pip install mpich")
    version = subprocess.run([mpirun, "--version"], capture_output=True, text=True).stdout
    more = ["--oversubscribe", "--allow-run-as-root"] if "Open MPI" in version else []
    words = [mpirun, *more, "-n", str(ranks), sys.executable, __file__, "--as-rank", name]
    words += [] if images is None else ["--images", str(images)]
    return words + ([] if checkpoint is None else ["--checkpoint", str(checkpoint)])


def run(words: list[str]) -> tuple[str, str]:
    """The library of MPI and the digest of a training."""
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    library, digest = done.stdout.splitlines()[-2:]
    return library, digest


def kill_and_resume(name: str, images: int | None) -> tuple[str, str]:
    """Kill a rank of a training after its first checkpoint, and resume it on other ranks."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.safetensors"
        words = [*command(name, KILLED, images, file), "--kill"]
        if (
            subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
            == 0
        ):
            raise SystemExit(f"{name}: expected to kill it before its end, got the end")
        return run(command(name, RESUMED, images, file))


def main() -> int:
    """Train, compare, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="+", default=list(NAMES), choices=sorted(RECIPES))
    parser.add_argument("--images", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--as-rank", metavar="RECIPE", help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", help=argparse.SUPPRESS)
    parser.add_argument("--kill", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_rank is not None:
        train(given.as_rank, given.images, given.checkpoint, given.kill)
        return 0
    rows = []
    for name in given.recipes:
        images = given.images or IMAGES.get(name)
        runs = [(str(n), run(command(name, n, images, None))) for n in RANKS]
        runs.append((f"{KILLED}, killed, then {RESUMED}", kill_and_resume(name, images)))
        for ranks, (library, digest) in runs:
            rows.append((name, images or "all", library, ranks, digest))
            print(f"{name}, {library}, ranks {ranks}: {digest[:16]}", flush=True)
    table = pd.DataFrame(rows, columns=["recipe", "images", "mpi", "ranks", "sha256"])
    whole = given.images is None and given.recipes == list(NAMES)
    folder = given.out or (RESULTS if whole else None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "ranks_agree.csv"
        if file.exists():
            before = pd.read_csv(file, dtype=str)
            table = pd.concat([before[~before["mpi"].isin(table["mpi"])], table.astype(str)])
        write_whole(file, table.to_csv(index=False))
    one = table.groupby("recipe")["sha256"].nunique()
    print("all equal" if (one == 1).all() else f"different: {one[one > 1].index.tolist()}")
    return int((one > 1).any())


if __name__ == "__main__":
    sys.exit(main())
