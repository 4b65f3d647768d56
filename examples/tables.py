"""Train binary networks on three tables, each with another kind of target.

    pip install -e ".[sklearn]" && python examples/tables.py

The tables come with scikit-learn. The loss decides what the task is: numbers (diabetes: how far the
disease has gone after a year), one of two classes (breast cancer: is the tumour benign?), or
several labels for a sample (digits of 8 x 8 pixels: is it odd, is it 5 or more, has it a loop?).

Each training holds out a fifth of its samples for validation, stops when the loss there no longer
falls, and takes the values of the best epoch back. The test part is read once, at the end.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from minibnn import (
    F1,
    R2,
    Accuracy,
    Activation,
    Adam,
    BatchNorm,
    BinaryCrossEntropy,
    Checkpoint,
    DataLoader,
    Dense,
    EarlyStopping,
    Huber,
    Loss,
    MeanAbsoluteError,
    Sequential,
    SignSTE,
    Uniform,
    evaluate,
    fit,
)
from minibnn.losses import Metric


@dataclass
class Table:
    """A table, and what a network is to make of it.

    Attributes:
        x: (samples, features), any numbers.
        targets: (samples,) or (samples, outputs), as the loss takes them.
        outputs: their names.
        loss: decides which targets are allowed, what a prediction is, and what is reported.
        metrics: what to report; None for what the loss reports.
    """

    x: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    outputs: list[str]
    loss: Loss
    metrics: list[Metric] | None = None

    def parts(self, seed: int) -> tuple[DataLoader, DataLoader]:
        """Four fifths for training, and the rest for the test; features of mean 0, variance 1."""
        order = np.random.default_rng(seed).permutation(len(self.x))
        train, test = np.split(order, [len(order) * 4 // 5])
        mean, std = self.x[train].mean(axis=0), self.x[train].std(axis=0)
        x = ((self.x - mean) / np.where(std > 0, std, 1)).astype(np.float32)
        return (
            DataLoader((x[train], self.targets[train]), 16, shuffle=True, rng=seed),
            DataLoader((x[test], self.targets[test]), 16),
        )


def diabetes() -> Table:
    """442 patients, 10 features; a number, here in standard deviations."""
    x, y = datasets().load_diabetes(return_X_y=True)
    y = ((y - y.mean()) / y.std()).astype(np.float32)
    return Table(x, y, ["progression"], Huber(), [MeanAbsoluteError(), R2()])


def breast_cancer() -> Table:
    """569 tumours, 30 features; class 1 is benign."""
    x, y = datasets().load_breast_cancer(return_X_y=True)
    return Table(x, y, ["benign"], BinaryCrossEntropy(), [Accuracy(), F1()])


def digits() -> Table:
    """1,797 images of 64 pixels, and three labels for each."""
    x, y = datasets().load_digits(return_X_y=True)
    labels = np.stack([y % 2 == 1, y >= 5, np.isin(y, [0, 6, 8, 9])], axis=1)
    return Table(x, labels, ["odd", "5 or more", "has a loop"], BinaryCrossEntropy())


TABLES = {"diabetes": diabetes, "breast-cancer": breast_cancer, "digits": digits}


def datasets() -> Any:
    """scikit-learn's data sets."""
    try:
        from sklearn import datasets
    except ImportError:
        sys.exit('This example needs scikit-learn: pip install -e ".[sklearn]"')
    return datasets


def network(features: int, outputs: int, width: int = 64) -> Sequential:
    """Two hidden layers of -1 and +1 with weights of -1 and +1; the outputs' weights are real."""
    bits: dict[str, Any] = {
        "bias": False, "weight_quantizer": SignSTE(), "weight_init": Uniform(), "weight_bound": 1.0
    }  # fmt: skip
    return Sequential(
        Dense(features, width, **bits),
        BatchNorm(width),
        Activation(SignSTE(clip=1.0)),
        Dense(width, width, **bits),
        BatchNorm(width),
        Activation(SignSTE(clip=1.0)),
        Dense(width, outputs),
    )


def train(
    table: Table, epochs: int = 60, seed: int = 0, checkpoint: Checkpoint | None = None
) -> tuple[Sequential, pd.DataFrame, EarlyStopping, DataLoader]:
    """The trained network, its history, what stopped it, and the test part."""
    loader, test = table.parts(seed)
    model = network(table.x.shape[1], len(table.outputs)).initialize(seed)
    stop = EarlyStopping("loss_validation", patience=10)
    history = fit(
        model,
        loader,
        loss=table.loss,
        optimizer=Adam(model.parameters(), 0.003),
        epochs=epochs,
        validation=0.2,
        evaluate_train=None,
        metrics=table.metrics,
        callbacks=[stop],
        checkpoint=checkpoint,
    )
    return model, history, stop, test


def main() -> None:
    """Train on each table, and show what the network has learnt."""
    parser = argparse.ArgumentParser(
        description="Train binary networks on three tables, each with another kind of target."
    )
    add = parser.add_argument
    add("tables", nargs="*", default=list(TABLES), metavar="TABLE", help=", ".join(TABLES))
    add("--epochs", type=int, default=60, metavar="N", help="at most; default: %(default)s")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    args = parser.parse_args()
    if unknown := set(args.tables) - set(TABLES):
        parser.error(f"expected tables among {', '.join(TABLES)}, got {', '.join(unknown)}")
    for name in args.tables:
        table = TABLES[name]()
        model, history, stop, test = train(table, args.epochs, args.seed)
        print(f"{name}: {len(table.x):,} samples, {table.x.shape[1]} features, {table.loss!r}")
        print(history.filter(regex="^(?!flips)").loc[[1, stop.best_epoch]].round(3).to_string())
        how = "stopped" if history.attrs["stopped"] else "ended"
        print(f"{how} after epoch {history.index[-1]}; values of epoch {stop.best_epoch}")
        measured = evaluate(model, test, table.loss, metrics=table.metrics)
        for metric, value in measured._asdict().items():
            print(f"    test {metric:<20} {value:.3f}")
        x, targets = (a[:5] for a in test.arrays)
        pair = {"target": targets, "prediction": model.predict(x, loss=table.loss)}
        columns = {
            k: pd.DataFrame(v.reshape(5, -1), columns=table.outputs) for k, v in pair.items()
        }
        print(pd.concat(columns, axis=1).astype(targets.dtype).round(2).to_string())
        print()


if __name__ == "__main__":
    main()
