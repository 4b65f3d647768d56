"""Train a binary neural network on MNIST and print loss and accuracy for each epoch.

    python examples/mnist.py                       # the seed recipe, on the GPU if there is one
    python examples/mnist.py --recipe modern       # the same network, modern training
    python examples/mnist.py --device gpu --json

The default network is 784-128-64-10 with weights and hidden activations of +1 and -1. The networks
and their training are plain code in `minibnn/recipes.py`; this file is the command line.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

import minibnn
from minibnn import (
    Checkpoint,
    ImageDataset,
    get_backend,
    load_mnist,
    load_mnist_or_sample,
    load_sample,
)
from minibnn.commands import terminal
from minibnn.commands.options import in_options, rewrite_log
from minibnn.recipes import RECIPES
from minibnn.result_folder import ResultFolder
from minibnn.signals import INTERRUPTED, gentle_ending
from minibnn.training.checkpoint import Interval

RESULTS = ("history.csv", "history.png")


@dataclass(frozen=True)
class Args:
    """The settings of a run; `train(epochs=3)` and `--epochs 3` are the same."""

    recipe: str = "seed"  # a name in minibnn.recipes.RECIPES
    device: str = "auto"  # auto, cpu or gpu
    epochs: int | None = None  # None: the recipe's own
    batch_size: int | None = None  # None: the recipe's own
    learning_rate: float | None = None  # None: the recipe's own
    seed: int = 0
    data_dir: str | None = None  # folder with the four MNIST files
    dataset: str = "auto"  # mnist, sample, or auto (the sample only if there is no MNIST)
    verify: bool = True  # False for a drop-in set in data_dir, such as Fashion-MNIST
    out: str | None = None  # folder for history.csv, config.json and history.png
    quiet: bool = False  # show no progress
    checkpoint: str | None = None  # file to save the training in
    checkpoint_every: str = "1epoch"  # or 200steps, 30s, 10min
    resume: bool = False  # go on from the checkpoint, if it is there

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {choices}, got {getattr(self, name)!r}")
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate: expected a positive number, got {self.learning_rate}")
        if self.data_dir is not None and self.dataset == "sample":
            raise ValueError("data_dir: the sample comes with minibnn; leave out one of the two")
        if self.seed < 0:
            raise ValueError(f"seed: expected at least 0, got {self.seed}")
        for name, unset in (("resume", False), ("checkpoint_every", "1epoch")):
            if self.checkpoint is None and getattr(self, name) != unset:
                raise ValueError(f"{name}: expected a checkpoint's file; name it with checkpoint")
        Interval.parse(self.checkpoint_every)


# How a run is saved does not change its results, so it is not recorded with them.
SAVING = ("checkpoint", "checkpoint_every", "resume")
CHOICES = {
    "recipe": tuple(RECIPES),
    "device": ("auto", "cpu", "gpu"),
    "dataset": ("auto", "mnist", "sample"),
}


def load_data(args: Args) -> ImageDataset:
    """Load MNIST; by default, if there is no MNIST, the bundled sample with a warning."""
    if args.dataset == "sample":
        return load_sample()
    if args.dataset == "mnist" or args.data_dir is not None or not args.verify:
        return load_mnist(args.data_dir, verify=args.verify)
    return load_mnist_or_sample()


def train(**settings: Any) -> pd.DataFrame:
    """Train a network and return its history, one row per epoch; see `Args` for the settings."""
    args = Args(**settings)
    given: dict[str, Any] = {k: getattr(args, k) for k in ("epochs", "batch_size", "learning_rate")}
    recipe = RECIPES[args.recipe]()
    recipe = replace(recipe, **{k: v for k, v in given.items() if v is not None})
    backend = get_backend(args.device)
    data = load_data(args)
    title = f"{data.name}, {args.recipe} recipe, seed {args.seed}, {backend.name}"
    # The values in use, instead of "auto" and None.
    used = asdict(replace(args, device=backend.name)) | {k: getattr(recipe, k) for k in given}
    used = {k: v for k, v in used.items() if k not in SAVING}
    # In results, also those of earlier versions, the learning rate is called "lr".
    used = {"lr" if k == "learning_rate" else k: v for k, v in used.items()}
    used |= {"title": title, "minibnn": minibnn.__version__, "numpy": np.__version__}

    # Created before training, so that errors come early. Earlier results stay until the end.
    folder = None if args.out is None else ResultFolder(args.out, RESULTS, used)
    checkpoint = None
    if args.checkpoint is not None:
        checkpoint = Checkpoint(args.checkpoint, args.checkpoint_every, resume=args.resume)
    _, history = recipe.train(
        data,
        seed=args.seed,
        device=backend,
        progress=False if args.quiet else None,
        # Written after each epoch: a crash loses only the current one.
        on_epoch=None if folder is None else partial(write_history, folder),
        checkpoint=checkpoint,
    )
    history.attrs |= used
    if folder is not None and len(history):
        folder.write("history.csv", history.to_csv())  # a resumed run may have had no more epochs
        try:
            minibnn.plot_history(history, folder.file("history.png"), title=title)
        except ImportError as missing:
            logging.getLogger("minibnn").info("no history.png: %s", missing)
        except KeyboardInterrupt:  # all epochs are complete
            history.attrs["interrupted"] = True
        if not history.attrs["interrupted"]:
            folder.finish()
        elif folder.current != folder.path:
            logging.getLogger("minibnn").info("the results so far are in %s", folder.current)
    return history


def write_history(folder: ResultFolder, history: pd.DataFrame) -> None:
    """Write the history so far; a full disk is no reason to lose the training."""
    try:
        folder.write("history.csv", history.to_csv())
    except OSError as error:
        logging.getLogger("minibnn").warning("no history.csv yet: %s; training goes on", error)


def main(argv: list[str] | None = None) -> int:
    """Run the command line. Results go to stdout, everything else to stderr."""
    with gentle_ending() as ending:
        try:
            code = run(argv)
        except KeyboardInterrupt:  # before training began, or a second Ctrl-C
            terminal.note("interrupted")
            code = INTERRUPTED
        except BrokenPipeError:
            code = 141
        except OSError as error:  # a full disk under the table
            code = fail(1, error)
        except SystemExit:  # of argparse, or after SIGTERM
            terminal.flush()
            raise
    broken = terminal.flush()
    if code == INTERRUPTED and ending.code:
        return ending.code
    if code or broken is None:
        return code
    return 141 if isinstance(broken, BrokenPipeError) else fail(1, broken)


def run(argv: list[str] | None) -> int:
    """Parse the options, train, and print the results."""
    parser = argparse.ArgumentParser(
        description="Train a binary neural network on MNIST.",
        epilog="exit codes: 0 success, 1 unexpected error, 2 wrong usage, 3 no usable data, "
        "4 no usable device, 5 training diverged, 130 interrupted (prints the table so far), "
        "143 or 129 ended by SIGTERM or SIGHUP",
    )
    add = parser.add_argument
    # fmt: off
    add("--recipe", default="seed", choices=CHOICES["recipe"], metavar="NAME",
        help=f"one of {', '.join(RECIPES)}; default: %(default)s")
    add("--device", default="auto", choices=CHOICES["device"],
        help="default: auto, the GPU if it works, otherwise the CPU")
    add("--epochs", type=int, metavar="N", help="default: the recipe's; 10 for seed and modern")
    add("--batch-size", type=int, metavar="N", help="default: the recipe's")
    add("--lr", dest="learning_rate", type=float, metavar="RATE",
        help="initial learning rate; default: the recipe's")
    add("--seed", type=int, default=0, metavar="N",
        help="seed of all random numbers; default: %(default)s")
    add("--data-dir", metavar="DIR", help="folder with the four MNIST files, plain or .gz; "
        "default: $MINIBNN_DATA, otherwise the user's cache, filled by download")
    add("--no-verify", dest="verify", action="store_false",
        help="take a drop-in set such as Fashion-MNIST: any images of 28x28 in 10 classes")
    add("--dataset", default="auto", choices=CHOICES["dataset"],
        help="default: auto, MNIST or, if there is none, the bundled sample")
    add("--out", metavar="DIR", help="write history.csv, config.json and, with matplotlib, "
        "history.png there; files of an earlier run are replaced at the end")
    add("--checkpoint", metavar="FILE", help="save the training there, to go on after a kill")
    add("--checkpoint-every", default="1epoch", metavar="N",
        help="how often: 200steps, 30s, 10min, 1epoch; default: %(default)s")
    add("--resume", action="store_true",
        help="go on from the checkpoint if it is there, and start if it is not: so the same "
        "command, repeated until it ends with 0, does the whole job")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    add("--quiet", action="store_true", help="show no progress")
    add("--version", action="version", version=f"minibnn {minibnn.__version__}")
    # fmt: on
    given = parser.parse_args(argv)
    settings = {field.name: getattr(given, field.name) for field in fields(Args)}
    try:
        Args(**settings)
    except ValueError as error:
        parser.error(in_options(str(error)))
    logging.basicConfig(format="%(message)s")  # minibnn's messages go to stderr
    logging.getLogger("minibnn").setLevel(logging.INFO)
    logging.getLogger("minibnn").addFilter(rewrite_log)

    try:
        history = train(**settings)
    except (minibnn.DataError, minibnn.CheckpointError) as error:
        return fail(2 if isinstance(error, minibnn.WrongCheckpointError) else 3, error)
    except minibnn.DeviceError as error:
        return fail(4, error)
    except minibnn.DivergedError as error:
        return fail(5, error)
    except ValueError as error:  # for example, a batch larger than the data set
        return fail(2, error)
    except OSError as error:  # for example, a folder that cannot be written
        return fail(1, error)
    finally:
        logging.getLogger("minibnn").removeFilter(rewrite_log)

    if given.json:
        rows = history.reset_index().to_dict(orient="records")
        print(json.dumps({**history.attrs, "history": rows}, indent=2))
    elif len(history):
        print(history.attrs["title"])
        table = history[["loss_train", "loss_test", "acc_train", "acc_test"]]
        print(table.rename_axis(index=None, columns="epoch").to_string(float_format="%.3f"))
    if history.attrs["interrupted"]:
        terminal.note(f"interrupted after {len(history)} of {history.attrs['epochs']} epochs")
        return INTERRUPTED
    return 0


def fail(code: int, error: Exception) -> int:
    """Print the error without a traceback, and return the exit code."""
    terminal.note(f"error: {in_options(str(error))}")
    return code


if __name__ == "__main__":
    sys.exit(main())
