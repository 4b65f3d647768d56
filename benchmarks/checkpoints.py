"""Measure what checkpoints cost: time, and bytes of the file.

    MINIBNN_DATA=... python benchmarks/checkpoints.py

Trains 784-1024-1024-1024-10 for an epoch with `fit`: with a checkpoint at the end of the epoch,
without one, and without one again as a control, in turn. Prints the medians and their ratios, and
writes every measurement to `benchmarks/results/checkpoints.csv` and its environment to
`checkpoints.json`; with `--images` or `--width`, only with `--out FOLDER`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from harness.environment import RESULTS, restart_without_unfair_variables, save_run
from minibnn import (
    Adam,
    BatchNorm,
    Checkpoint,
    DataLoader,
    Flatten,
    ImageDataset,
    LogitCrossEntropy,
    Rescale,
    Sequential,
    fit,
    load_mnist_or_sample,
)
from minibnn.recipes import binary_dense, binary_hidden
from minibnn.state import State
from minibnn.training.checkpoint_file import read_checkpoint

BATCH = 100
WITH, WITHOUT, CONTROL = "with a checkpoint", "without", "without, again"


class Trainee:
    """A network that goes on training, an epoch at a time.

    Args:
        data: to train on; it is evaluated on as many of the test images as there are.
        path: of the checkpoint, or None.
        width: units in each hidden layer.
    """

    def __init__(self, data: ImageDataset, path: str | None, width: int) -> None:
        rng = np.random.default_rng(0)
        self.model = Sequential(
            Flatten(),
            Rescale(2 / 255, -1),
            *binary_hidden(784, width),
            *binary_hidden(width, width),
            *binary_hidden(width, width),
            binary_dense(width, 10),
            BatchNorm(10),
        ).initialize(rng)
        arrays = (data.train_images, data.train_labels)
        self.train = DataLoader(arrays, BATCH, shuffle=True, rng=rng)
        self.test = DataLoader((data.test_images, data.test_labels), BATCH)
        self.optimizer = Adam(self.model.parameters(), 1e-3)
        self.path = path

    def epoch(self) -> float:
        """Train an epoch; the seconds it took."""
        checkpoint = None
        if self.path is not None:
            Path(self.path).unlink(missing_ok=True)  # a training of its own: nothing is resumed
            checkpoint = Checkpoint(self.path, "1epoch")
        begun = time.perf_counter()
        fit(
            self.model, self.train, self.test, loss=LogitCrossEntropy(), optimizer=self.optimizer,
            epochs=1, progress=False, checkpoint=checkpoint,
        )  # fmt: skip
        return time.perf_counter() - begun


def array_bytes(state: State) -> int:
    """The bytes of all arrays in a state."""
    values = state.values()
    return sum(
        array_bytes(v) if isinstance(v, dict) else v.nbytes if isinstance(v, np.ndarray) else 0
        for v in values
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what checkpoints cost.")
    add = parser.add_argument
    add("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    add("--width", type=int, default=1024, metavar="N", help="default: %(default)s")
    add("--images", type=int, metavar="N", help="train on the first N images; default: all")
    add("--out", type=Path, metavar="FOLDER", help="write the results there; default: "
        "benchmarks/results for all images, nowhere for fewer")  # fmt: skip
    args = parser.parse_args()
    restart_without_unfair_variables()
    data = load_mnist_or_sample()
    if args.images:
        data = data.validation_split(len(data.train_images) - args.images, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.safetensors")
        trainees = {
            name: Trainee(data, path if name == WITH else None, args.width)
            for name in (WITH, WITHOUT, CONTROL)
        }
        for trainee in trainees.values():
            trainee.epoch()  # the first is slower
        rows = []
        for i in range(args.rounds):
            for name, trainee in trainees.items():
                rows.append((i, name, trainee.epoch()))
        state, _ = read_checkpoint(path)
        size, arrays = os.path.getsize(path), array_bytes(state)
    table = pd.DataFrame(rows, columns=["round", "what", "seconds"])
    wide = table.pivot(index="round", columns="what", values="seconds")
    for name in (WITH, CONTROL):
        ratios = wide[name] / wide[WITHOUT]
        print(
            f"{name:18} {wide[name].median():7.3f} s an epoch, {ratios.median():.3f} of without "
            f"({ratios.min():.3f} to {ratios.max():.3f})"
        )
    print(f"{WITHOUT:18} {wide[WITHOUT].median():7.3f} s")
    print(f"the file {size:,} bytes, {size / arrays:.4f} of its arrays' {arrays:,}")
    partial = args.images or args.width != 1024
    out = args.out or (None if partial else RESULTS)
    if out is not None:
        save_run(
            out, "checkpoints", table, (), threads=os.cpu_count() or 1, left_out=(),
            file_bytes=size, array_bytes=arrays,
        )  # fmt: skip


if __name__ == "__main__":
    main()
