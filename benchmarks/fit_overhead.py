"""Measure what `fit` costs beside the loop that it runs.

    MINIBNN_DATA=... python benchmarks/fit_overhead.py

Trains the recipe `modern`'s network, and a small one whose steps are short, ten epochs at a
time, in turn: by the plain loop; by `fit` without validation and without an evaluation of the
training set; and by the plain loop again, as a control. Prints the ratios to the plain loop, and
writes every measurement to `benchmarks/results/fit_overhead.csv` and its environment to
`fit_overhead.json`; with `--images`, only with `--out FOLDER`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.environment import RESULTS, restart_without_unfair_variables, save_run
from minibnn import (
    Activation,
    Adam,
    BatchNorm,
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
    load_mnist_or_sample,
)
from minibnn.recipes import RECIPES

BATCH, EPOCHS = 100, 10  # a call also reads the range of all pixels, which takes 5 ms
LOOP, FIT, CONTROL = "plain loop", "fit", "plain loop, again"


def small() -> Sequential:
    """784-64-10: steps of a fraction of a millisecond, in which overheads show."""
    weights: dict[str, Any] = {
        "weight_quantizer": SignSTE(), "weight_init": Uniform(), "weight_bound": 1.0
    }  # fmt: skip
    return Sequential(
        Flatten(),
        Rescale(2 / 255, -1),
        Dense(784, 64, bias=False, **weights),
        BatchNorm(64),
        Activation(SignSTE(clip=1.0)),
        Dense(64, 10, bias=False, **weights),
        BatchNorm(10),
    )


NETWORKS: dict[str, Callable[[], Sequential]] = {
    "small": small,
    "modern": lambda: RECIPES["modern"]().build(),
}


class Trainee:
    """A network that goes on training, some epochs at a time.

    Args:
        network: its name.
        data: to train on.
    """

    def __init__(self, network: str, data: ImageDataset) -> None:
        rng = np.random.default_rng(0)
        self.model = NETWORKS[network]().initialize(rng)
        arrays = (data.train_images, data.train_labels)
        self.train = DataLoader(arrays, BATCH, shuffle=True, rng=rng)
        self.optimizer = Adam(self.model.parameters(), 1e-3)
        self.loss = LogitCrossEntropy()

    def fit(self) -> None:
        """Train by `fit`."""
        fit(
            self.model, self.train, loss=self.loss, optimizer=self.optimizer, epochs=EPOCHS,
            evaluate_train=None, progress=False,
        )  # fmt: skip

    def loop(self) -> None:
        """Train by a loop of one's own."""
        for _ in range(EPOCHS):
            for x, labels in self.train:
                y = self.model.forward(x, train=True)
                self.loss.forward(y, labels)
                self.model.backward(self.loss.backward(), need_dx=False)
                self.optimizer.step()


def measure(network: str, data: ImageDataset, rounds: int) -> list[tuple[str, int, str, float]]:
    """Network, round, what, and seconds an epoch; all on the same arrays, in changing order."""
    ends = []
    for by_fit in (False, True):
        trainee = Trainee(network, data)
        (trainee.fit if by_fit else trainee.loop)()
        ends.append(trainee.optimizer.store.data.tobytes())
    if ends[0] != ends[1]:
        raise RuntimeError(f"{network}: expected the same parameters from both, got others")
    ways = {LOOP: trainee.loop, FIT: trainee.fit, CONTROL: trainee.loop}
    rows = []
    for i in range(rounds):
        names = list(ways)
        for name in names[i % 3 :] + names[: i % 3]:
            begun = time.perf_counter()
            ways[name]()
            rows.append((network, i, name, (time.perf_counter() - begun) / EPOCHS))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what fit costs beside its loop.")
    add = parser.add_argument
    add("--rounds", type=int, default=7, metavar="N", help="default: %(default)s")
    add("--images", type=int, metavar="N", help="train on the first N images; default: all")
    add("--out", type=Path, metavar="FOLDER", help="write the results there; default: "
        "benchmarks/results for all images, nowhere for fewer")  # fmt: skip
    args = parser.parse_args()
    restart_without_unfair_variables()
    data = load_mnist_or_sample()
    if args.images:
        data = data.validation_split(len(data.train_images) - args.images, np.random.default_rng(0))
    rows = [row for network in NETWORKS for row in measure(network, data, args.rounds)]
    table = pd.DataFrame(rows, columns=["network", "round", "what", "seconds"])
    for network, its in table.groupby("network", sort=False):
        wide = its.pivot(index="round", columns="what", values="seconds")
        for name in (FIT, CONTROL):
            ratios = wide[name] / wide[LOOP]
            print(
                f"{network:8} {name:18} {wide[name].median():7.3f} s an epoch, "
                f"{ratios.median():.3f} of the plain loop ({ratios.min():.3f} to "
                f"{ratios.max():.3f})"
            )
    out = args.out or (None if args.images else RESULTS)
    if out is not None:
        save_run(out, "fit_overhead", table, (), threads=os.cpu_count() or 1, left_out=())


if __name__ == "__main__":
    main()
