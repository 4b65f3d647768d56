"""``python -m minibnn compare``: compare quantizers and optimisers."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from minibnn.backend import get_backend
from minibnn.checks import integer
from minibnn.comparison.grid import Entry, Piece, parse_piece, require_usable
from minibnn.comparison.jobs import Pool
from minibnn.comparison.mpi import mpi_jobs
from minibnn.comparison.own import own_comparison
from minibnn.comparison.picture import plot_comparison
from minibnn.comparison.ranking import rank
from minibnn.comparison.sweep import FailedRunsError, compare
from minibnn.comparison.worker import RecipeCall, WorkerStartError
from minibnn.data.mnist import load_by_options
from minibnn.data.options import (
    add_data,
    add_reading,
    data_of,
    reading_of,
    require_no_mnist_options,
    require_no_reading,
)
from minibnn.functions import Function
from minibnn.optimizers import Optimizer
from minibnn.recipes import RECIPES, recipe_named, recipe_text
from minibnn.result_folder import ResultFolder
from minibnn.training.recipe import Recipe
from minibnn.version import __version__

if TYPE_CHECKING:
    import pandas as pd

DESCRIPTION = """\
Compare quantizers and optimisers on one recipe, over several seeds, on training images held out, of
MNIST or of your own data.
Two entries are not ranked if their difference lies inside the noise of the seeds: they share a
letter in the last column of the table."""
EPILOG = """\
example:
  python -m minibnn compare --quantizers 'SignSTE(clip=1.0)' ApproxSign SwishSign \\
      --optimizers Adam AdaMax 'SGD(0.1, momentum=0.9)' --recipe modern --seeds 5

  python -m minibnn compare sensor.csv --quantizers SignSTE ApproxSign SwishSign

  python -m minibnn compare --seeds 20 --jobs 8 --resume
  mpirun -n 64 python -m minibnn compare --seeds 100 --distributed --resume

The last two can be killed at any moment: the same line again goes on. Table and runs.csv are the
same for any number of jobs, except for the seconds. (With other numbers of BLAS threads, networks
with real weights round otherwise. For them, set OPENBLAS_NUM_THREADS=1.) If a run fails, or its
process is killed, the others are trained, the exit code is 1, and --resume trains what is missing.

A PIECE is the name of a class of minibnn, or a call with plain arguments. An optimiser's first
argument is its initial learning rate (default: the recipe's own), which decays as in the recipe.
Bop has no learning rate: it flips the binary weights, and Adam trains all other parameters with
the recipe's learning rate."""
FILES = ("runs.csv", "table.txt", "comparison.png")
CHECKPOINT = "checkpoint.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    # fmt: off
    add_data(parser, "your own data, as in train; default: MNIST")
    add("--recipe", type=recipe_text, metavar="NAME",
        help=f"one of {', '.join(RECIPES)}, or FILE.py:FUNCTION, which returns a Sequential or a "
        "Recipe; default: modern; on DATA, a default network")
    add("--quantizers", nargs="+", default=[], metavar="PIECE",
        help="of the hidden activations; default: the recipe's own")
    add("--weight-quantizers", nargs="+", default=[], metavar="PIECE",
        help="of the weights; default: the recipe's own")
    add("--optimizers", nargs="+", default=[], metavar="PIECE", help="default: the recipe's own")
    add("--seeds", type=int, default=5, metavar="N",
        help="runs of each entry; default: %(default)s")
    add("--epochs", type=int, metavar="N", help="default: the recipe's own")
    add("--held-out", type=int, metavar="N",
        help="training images kept aside to compare on; default: a sixth of them; of DATA, a fifth")
    add("--device", default="cpu", choices=("auto", "cpu", "gpu"), help="default: %(default)s")
    # commands/shared.py has these options too. It cannot be imported here: commands may import
    # compare, not the reverse. The default device differs.
    add("--dataset", default="auto", choices=("auto", "mnist", "sample"),
        help="default: auto, MNIST or, if there is none, the bundled sample")
    add("--data-dir", metavar="DIR", help="folder with the four MNIST files, plain or .gz; "
        "default: $MINIBNN_DATA, else the user's cache, filled by download")
    add("--no-verify", action="store_true",
        help="take a drop-in set such as Fashion-MNIST: any images of 28x28 in 10 classes")
    add("--out", default="comparison", metavar="DIR",
        help="gets runs.csv, table.txt, config.json and, with matplotlib, comparison.png; "
        "default: %(default)s; those of an earlier comparison there are replaced at the end")
    add("--jobs", type=int, metavar="N",
        help="runs that are trained at a time, each in a process of its own, on its share of the "
        "processors; default: 1")
    add("--distributed", action="store_true",
        help="train a run at a time in each process that mpirun starts, by mpi4py")
    add("--resume", action="store_true",
        help="go on with the unfinished comparison in --out, if there is one")
    # fmt: on
    add_reading(parser)


def run(given: argparse.Namespace) -> int:
    """Run the comparison and print its table."""
    if not given.distributed:
        jobs = 1 if given.jobs is None else integer("compare", "--jobs", given.jobs, least=1)
        return _run(given, jobs)
    if given.jobs is not None:
        raise ValueError(
            f"--jobs: expected none beside --distributed, got {given.jobs}; start as many with "
            f"mpirun -n {given.jobs}"
        )
    with mpi_jobs() as ranks:
        return 0 if ranks is None else _run(given, ranks)


def _run(given: argparse.Namespace, jobs: int | Pool) -> int:
    kinds = (
        (given.quantizers, Function),
        (given.weight_quantizers, Function),
        (given.optimizers, Optimizer),
    )
    choices: list[list[Piece | None]] = [
        list(map(parse_piece, texts, [kind] * len(texts))) or [None] for texts, kind in kinds
    ]
    entries = [Entry(*pieces) for pieces in product(*choices)]
    own = data_of(given)
    backend = get_backend(given.device)
    if own is None:
        require_no_reading(given)
        call = RecipeCall(_recipe, given.recipe or "modern", given.epochs)
        require_usable(call(), entries, given.seeds)
        data = load_by_options(given.dataset, given.data_dir, verify=not given.no_verify)
        held_out = len(data.train_images) // 6 if given.held_out is None else given.held_out
        split = data.validation_split(held_out, np.random.default_rng(0))
        name, samples = data.name, "training images"
    else:
        require_no_mnist_options(given)
        reading = reading_of(given)
        call, split = own_comparison(own, reading, given.recipe, given.held_out, given.epochs)
        require_usable(call(), entries, given.seeds)
        held_out, name, samples = len(split.test_images), own, "training samples"
    recipe = call()
    title = (
        f"{recipe.name} on {name}, {_several(recipe.epochs, 'epoch')}, "
        f"{_several(given.seeds, 'seed')}; "
        f"accuracy on {held_out:,} {samples} held out"
    )
    # The values in use, instead of "auto" and None.
    used = {
        "recipe": recipe.name,
        "epochs": recipe.epochs,
        "held_out": held_out,
        "device": backend.name,
    }
    settings = {**vars(given), **used, "title": title, "minibnn": __version__}
    # Fails now, not after the runs. An earlier comparison there stays until this one has ended.
    folder = ResultFolder(given.out, FILES, settings)
    total = len(entries) * given.seeds
    finished = 0

    def on_run(runs: pd.DataFrame) -> None:
        nonlocal finished
        folder.write("runs.csv", runs.sort_index().to_csv(index=False))
        finished = len(runs)
        last = runs.iloc[-1]
        end = f"{last.accuracy:.4f}" if math.isfinite(last.loss) else "diverged, counts as 0"
        print(
            f"{finished}/{total}  {last.entry}, seed {last.seed}: {end} in {last.seconds:.1f} s",
            file=sys.stderr,
        )

    try:
        runs = compare(
            call, entries, split, seeds=given.seeds, device=backend, on_run=on_run, jobs=jobs,
            checkpoint=folder.path / CHECKPOINT, resume=given.resume,
        )  # fmt: skip
        folder.write("runs.csv", runs.to_csv(index=False))  # all may have been in the checkpoint
        ranking = rank(runs, resolution=1 / held_out)
        text = f"{title}\n\n{format_table(ranking)}\n"
        diverged = int(np.isinf(runs.loss).sum())
        if diverged:
            text += f"{_several(diverged, 'run')} diverged and count{'s' * (diverged == 1)} as 0\n"
        folder.write("table.txt", text)
        print(text, end="")
        try:
            plot_comparison(runs, ranking, folder.file("comparison.png"), title=title)
        except ImportError as missing:
            print(f"no comparison.png: {missing}", file=sys.stderr)
    except KeyboardInterrupt:
        file = folder.current / "runs.csv"
        none = "no further run was finished" if given.resume else "no run was finished"
        kept = f"the runs so far are in {file}" if finished else none
        print(f"interrupted; {kept}", file=sys.stderr)
        return 130
    except (FailedRunsError, WorkerStartError) as error:
        print(
            f"error: {error}; what is finished is kept: the same command with --resume trains "
            "only the rest",
            file=sys.stderr,
        )
        return 1
    folder.finish()
    if own is not None:
        print(f"next: python -m minibnn train {shlex.join([own])} -o model.safetensors")
    return 0


def _recipe(text: str, epochs: int | None) -> Recipe:
    recipe = recipe_named(text)
    return recipe if epochs is None else replace(recipe, epochs=epochs)


def format_table(ranking: pd.DataFrame) -> str:
    """The ranking as text, with a last line that explains the letters."""
    shown = ranking.copy()
    shown["mean"] = [f"{v:.4f}" for v in ranking["mean"]]
    shown["std"] = ["" if n < 2 else f"{v:.4f}" for v, n in zip(
        ranking["std"], ranking["seeds"], strict=True
    )]  # fmt: skip
    width = max(len(name) for name in shown.index)
    shown.index = [name.ljust(width) for name in shown.index]
    table = shown.to_string()
    count = len(ranking)
    if count == 1:
        return table
    if ranking["seeds"].max() < 2:
        return f"{table}\n\nnot ranked: one seed says nothing about noise; use --seeds 5"
    if all(set(a) & set(b) for a in ranking.tied for b in ranking.tied):
        return f"{table}\n\nnot ranked: every difference lies inside the noise of the seeds"
    return (
        f"{table}\n\nentries that share a letter are not ranked: their difference lies inside the "
        "noise of the seeds\n"
        "(Welch's test, with 95 % confidence for all pairs of the table together)"
    )


def _several(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)
