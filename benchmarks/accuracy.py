"""Measure the accuracy of the recipes on MNIST: mean and standard deviation over seeds.

    MINIBNN_DATA=... python benchmarks/accuracy.py seed modern feedback-alignment
    MINIBNN_DATA=... python benchmarks/accuracy.py finn-lfc --seeds 3

Trains each recipe of `minibnn/recipes.py` on the CPU with all 60,000 training images, once for each
seed, and evaluates the 10,000 test images once, after the last epoch. Writes every run to
`benchmarks/results/accuracy_RECIPE.json`. The settings of the recipes (learning rates, epochs,
dropout) were chosen on a validation split of the training set (`choose.py`), not with these
accuracies. `--train-images` and `--epochs` make shorter runs, to try the script; their results are
not saved. Each row describes what affects the rounding of its run (`machine`): see README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace

import pandas as pd

from harness.environment import RESULTS, environment, machine, save
from minibnn import DataLoader, evaluate, load_mnist
from minibnn.recipes import RECIPES


def main() -> None:
    """Train for each seed, and write the results."""
    parser = argparse.ArgumentParser(
        description="Measure the accuracy of recipes over several seeds."
    )
    parser.add_argument("recipes", nargs="+", choices=RECIPES, metavar="RECIPE",
                        help=f"any of {', '.join(RECIPES)}")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=5, metavar="N",
                        help="number of seeds; default: %(default)s")  # fmt: skip
    parser.add_argument("--first-seed", type=int, default=0, metavar="N",
                        help="first seed, to add seeds to earlier results; default: 0")  # fmt: skip
    parser.add_argument("--epochs", type=int, metavar="N",
                        help="default: the recipe's; if given, results are not saved")  # fmt: skip
    parser.add_argument("--train-images", type=int, metavar="N",
                        help="use the first N; default: all; if given, results are not saved"
                        )  # fmt: skip
    args = parser.parse_args()
    data = load_mnist()
    if args.train_images is not None:
        few = slice(args.train_images)
        data = replace(
            data, train_images=data.train_images[few], train_labels=data.train_labels[few]
        )
    print(environment())
    for name in args.recipes:
        recipe = RECIPES[name]()
        epochs = recipe.epochs if args.epochs is None else args.epochs
        full = args.train_images is None and args.epochs is None
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        file = RESULTS / f"accuracy_{name}.json"
        earlier = json.loads(file.read_text())["rows"] if full and file.exists() else []
        rows = [row for row in earlier if row["seed"] < args.first_seed]
        for seed in seeds:
            start, cpu = time.perf_counter(), time.process_time()
            # During training a single test image stands in for the test set.
            training_data = replace(
                data, test_images=data.test_images[:1], test_labels=data.test_labels[:1]
            )
            model, history = recipe.train(training_data, seed=seed, epochs=epochs, progress=False)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            test = DataLoader((data.test_images, data.test_labels), recipe.batch_size)
            end = evaluate(model, test, recipe.loss())
            rows.append(
                {
                    "recipe": name,
                    "seed": seed,
                    "epochs": epochs,
                    "acc_test": end.accuracy,
                    "loss_test": end.loss,
                    "acc_train": history.acc_train.iloc[-1],
                    "seconds": seconds,
                    "cpu_seconds": cpu,
                    "machine": machine(),
                }
            )
            print(f"{name} {seed}: {rows[-1]}", file=sys.stderr)
        table = pd.DataFrame(rows).round(5)
        if full:
            save(f"accuracy_{name}", table)
        print(table.groupby("recipe").acc_test.agg(["mean", "std", "min", "max", "count"]).round(4))


if __name__ == "__main__":
    main()
