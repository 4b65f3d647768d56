"""Train a binary neural network on MNIST and print loss and accuracy for each epoch.

    python examples/mnist.py                       # the seed recipe, on the best device
    python examples/mnist.py --recipe modern       # same network, today's training
    python examples/mnist.py --device gpu --json

The network is 784-128-64-10 with weights and hidden activations of +1 and -1. This page reads
from top to bottom: the settings, the two networks, the training, the command line.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import minibnn
from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    Cosine,
    DataLoader,
    Dense,
    Flatten,
    ImageDataset,
    LogitCrossEntropy,
    Rescale,
    Sequential,
    SignSTE,
    Uniform,
    fit,
    get_backend,
    glorot_lr_scale,
    load_mnist,
    load_mnist_or_sample,
    load_sample,
    plot_history,
)


@dataclass(frozen=True)
class Args:
    """The settings of a run; `train(epochs=3)` and `--epochs 3` set the same thing."""

    recipe: str = "seed"  # seed or modern
    device: str = "auto"  # auto, cpu or gpu
    epochs: int = 10
    batch_size: int | None = None  # None: the recipe's own
    lr: float | None = None  # None: the recipe's own
    seed: int = 0
    data_dir: str | None = None  # folder with the four MNIST files
    dataset: str = "auto"  # mnist, sample, or auto: the sample only if there is no MNIST
    out: str | None = None  # folder for history.csv, config.json and history.png
    quiet: bool = False  # no progress

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {choices}, got {getattr(self, name)!r}")
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise ValueError(f"lr: expected a positive number, got {self.lr}")
        if self.data_dir is not None and self.dataset == "sample":
            raise ValueError("data_dir: the sample comes with minibnn; leave out one of the two")
        if self.seed < 0:
            raise ValueError(f"seed: expected at least 0, got {self.seed}")


def seed_model() -> Sequential:
    """The first binary network: sign weights, sign activations, straight-through gradients."""
    return Sequential(
        Flatten(),
        Rescale(1 / 255),
        Dense(784, 128, weight_quantizer=SignSTE()),
        Activation(SignSTE()),
        Dense(128, 64, weight_quantizer=SignSTE()),
        Activation(SignSTE()),
        Dense(64, 10, weight_quantizer=SignSTE()),
    )


def modern_model() -> Sequential:
    """The same binary network, made trainable.

    Batch norm centres what the sign sees, the clip stops gradients that cannot flip a sign, the
    bound keeps latent weights where a step can flip them, and each layer's learning rate is
    scaled to its width.
    """

    def dense(n_in: int, n_out: int) -> Dense:
        return Dense(
            n_in,
            n_out,
            bias=False,  # batch norm has its own
            weight_quantizer=SignSTE(),
            weight_init=Uniform(-1, 1),
            weight_bound=1.0,
            lr_scale=glorot_lr_scale(n_in, n_out),
        )

    return Sequential(
        Flatten(),
        Rescale(2 / 255, -1),
        dense(784, 128),
        BatchNorm(128),
        Activation(SignSTE(clip=1.0)),
        dense(128, 64),
        BatchNorm(64),
        Activation(SignSTE(clip=1.0)),
        dense(64, 10),
        BatchNorm(10),
    )


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained."""

    build: Callable[[], Sequential]
    batch_size: int
    lr: float
    decays: bool  # whether the learning rate falls to zero, along a cosine


RECIPES = {
    "seed": Recipe(seed_model, batch_size=64, lr=3e-4, decays=False),
    "modern": Recipe(modern_model, batch_size=100, lr=5e-3, decays=True),
}
CHOICES = {
    "recipe": tuple(RECIPES),
    "device": ("auto", "cpu", "gpu"),
    "dataset": ("auto", "mnist", "sample"),
}


def build_model(recipe: str) -> Sequential:
    """The network of a recipe, without values yet."""
    return RECIPES[recipe].build()


def load_data(args: Args) -> ImageDataset:
    """MNIST; with the default settings the bundled sample stands in for it, and says so."""
    if args.dataset == "sample":
        return load_sample()
    if args.dataset == "mnist" or args.data_dir is not None:
        return load_mnist(args.data_dir)
    return load_mnist_or_sample()


def train(**settings: Any) -> pd.DataFrame:
    """Train a network and return its history, one row for each epoch; see `Args` for settings."""
    args = Args(**settings)
    recipe = RECIPES[args.recipe]
    batch_size = args.batch_size or recipe.batch_size
    lr = args.lr or recipe.lr
    rng = np.random.default_rng(args.seed)
    backend = get_backend(args.device)
    data = load_data(args)
    title = f"{data.name}, {args.recipe} recipe, seed {args.seed}, {backend.name}"
    # What was used, not what was asked for: "auto" and None say nothing to whoever reads it later.
    used = asdict(replace(args, device=backend.name, batch_size=batch_size, lr=lr))
    used |= {"title": title, "minibnn": minibnn.__version__, "numpy": np.__version__}

    model = build_model(args.recipe).initialize(rng).to(backend)
    train_data = (data.train_images, data.train_labels)
    train_set = DataLoader(train_data, batch_size, shuffle=True, drop_last=True, rng=rng)
    test_set = DataLoader((data.test_images, data.test_labels), batch_size)
    schedule = Cosine(lr, 0.0, length=args.epochs * len(train_set)) if recipe.decays else lr

    folder = None if args.out is None else prepare_folder(args.out, used)
    history = fit(
        model,
        train_set,
        test_set,
        loss=LogitCrossEntropy(),
        optimizer=Adam(model.parameters(), schedule),
        epochs=args.epochs,
        progress=False if args.quiet else None,
        # Written after each epoch, so that a crash keeps what was measured before.
        on_epoch=None if folder is None else lambda h: h.to_csv(folder / "history.csv"),
    )
    history.attrs |= used
    if folder is not None and len(history):
        try:
            plot_history(history, folder / "history.png", title=title)
        except ImportError as missing:
            logging.getLogger("minibnn").info("no history.png: %s", missing)
    return history


def prepare_folder(name: str, used: dict[str, Any]) -> Path:
    """Make the output folder and note the settings in it, before any time is spent."""
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("history.csv", "history.png"):  # of an earlier run into the same folder
        (folder / stale).unlink(missing_ok=True)
    (folder / "config.json").write_text(json.dumps(used, indent=2) + "\n")
    return folder


def main(argv: list[str] | None = None) -> int:
    """The command line. Results go to stdout, everything else to stderr."""
    parser = argparse.ArgumentParser(
        description="Train a binary neural network on MNIST.",
        epilog="exit codes: 0 done, 1 unexpected error, 2 wrong usage, 3 no usable data, "
        "4 no usable device, 5 training diverged, 130 interrupted (the table so far is printed)",
    )
    add = parser.add_argument
    # fmt: off
    add("--recipe", default="seed", choices=CHOICES["recipe"], help="default: %(default)s")
    add("--device", default="auto", choices=CHOICES["device"],
        help="default: auto, the GPU if it works and else the CPU")
    add("--epochs", type=int, default=10, metavar="N", help="default: %(default)s")
    add("--batch-size", type=int, metavar="N", help="default: 64 (seed); 100 (modern)")
    add("--lr", type=float, metavar="RATE",
        help="default: 3e-4, constant (seed); 5e-3, falling to 0 along a cosine (modern)")
    add("--seed", type=int, default=0, metavar="N",
        help="of every random draw; default: %(default)s")
    add("--data-dir", metavar="DIR", help="folder with the four MNIST files, plain or .gz; "
        "default: $MINIBNN_DATA, else the user's cache, filled by download")
    add("--dataset", default="auto", choices=CHOICES["dataset"],
        help="default: auto, MNIST or, if there is none, the bundled sample")
    add("--out", metavar="DIR", help="gets history.csv, config.json and, with matplotlib, "
        "history.png")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    add("--quiet", action="store_true", help="no progress")
    add("--version", action="version", version=f"minibnn {minibnn.__version__}")
    # fmt: on
    given = parser.parse_args(argv)
    settings = {field.name: getattr(given, field.name) for field in fields(Args)}
    try:
        Args(**settings)
    except ValueError as error:
        parser.error(str(error))
    logging.basicConfig(format="%(message)s")  # what the library says goes to stderr
    logging.getLogger("minibnn").setLevel(logging.INFO)

    try:
        history = train(**settings)
    except minibnn.DataError as error:
        return fail(3, error)
    except minibnn.DeviceError as error:
        return fail(4, error)
    except minibnn.DivergedError as error:
        return fail(5, error)
    except ValueError as error:  # a batch larger than the data set, say
        return fail(2, error)
    except OSError as error:  # a folder that cannot be written, say
        return fail(1, error)
    except KeyboardInterrupt:  # before training began, or a second Ctrl-C
        print("interrupted", file=sys.stderr)
        return 130

    if given.json:
        rows = history.reset_index().to_dict(orient="records")
        print(json.dumps({**history.attrs, "history": rows}, indent=2))
    elif len(history):
        print(history.attrs["title"])
        table = history[["loss_train", "loss_test", "acc_train", "acc_test"]]
        print(table.rename_axis(index=None, columns="epoch").to_string(float_format="%.3f"))
    if history.attrs["interrupted"]:
        print(f"interrupted after {len(history)} of {given.epochs} epochs", file=sys.stderr)
        return 130
    return 0


def fail(code: int, error: Exception) -> int:
    """Say what went wrong, without a traceback, and return the exit code."""
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
