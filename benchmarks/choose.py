r"""Choose a recipe's settings on a validation split, not on the test set.

    MINIBNN_DATA=... python benchmarks/choose.py modern --seeds 5 --lr 2e-3 5e-3 1e-2 \
        --batch-size 50 100 200
    MINIBNN_DATA=... python benchmarks/choose.py finn-sfc --dropout 0 0.2 --threshold 128 64

Trains a recipe on 50,000 of the training images with each setting of a grid, and measures its
accuracy on the other 10,000. Adds the rows to `benchmarks/results/choice_RECIPE.json`; a new
measurement of the same setting and seed replaces the old row. The file's `environment` is that of
the last run; each row has a `machine` of its own.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import json
import sys

import numpy as np
import pandas as pd

from harness.environment import RESULTS, environment, machine, save
from minibnn import load_mnist
from minibnn.recipes import RECIPES


def main() -> None:
    """Run the grid, and write the results."""
    parser = argparse.ArgumentParser(
        description="Compare settings of a recipe on a validation split."
    )
    parser.add_argument("recipe", choices=RECIPES, metavar="RECIPE",
                        help=f"one of {', '.join(RECIPES)}")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=1, metavar="N",
                        help="number of seeds; default: %(default)s")  # fmt: skip
    parser.add_argument("--first-seed", type=int, default=0, metavar="N",
                        help="default: %(default)s")  # fmt: skip
    training = {"lr": float, "batch_size": int, "epochs": int}  # as options and in the results
    attribute = {"lr": "learning_rate"}  # where the recipe's name differs
    network = {"dropout": float, "threshold": int}  # arguments of some recipes' functions
    for name, kind in (training | network).items():
        parser.add_argument("--" + name.replace("_", "-"), type=kind, nargs="+", metavar="VALUE",
                            help="values to compare; default: the recipe's")  # fmt: skip
    args = parser.parse_args()
    taken = inspect.signature(RECIPES[args.recipe]).parameters
    for name in network:
        if getattr(args, name) is not None and name not in taken:
            parser.error(f"--{name}: {args.recipe} has no {name}; the finn-... recipes have")
    grid = {n: getattr(args, n) for n in training | network if getattr(args, n) is not None}
    data = load_mnist().validation_split(10_000, np.random.default_rng(0))
    file = RESULTS / f"choice_{args.recipe}.json"
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    for seed, values in itertools.product(
        range(args.first_seed, args.first_seed + args.seeds), itertools.product(*grid.values())
    ):
        setting = dict(zip(grid, values, strict=True))
        recipe = RECIPES[args.recipe](**{k: v for k, v in setting.items() if k in network})
        changes = {attribute.get(k, k): v for k, v in setting.items() if k in training}
        _, history = recipe.train(data, seed=seed, progress=False, held_out=0, **changes)
        used = {k: getattr(recipe, attribute.get(k, k)) for k in training} | setting
        last = history.iloc[-1]
        run = {**used, "seed": seed}
        measured = {"accuracy": round(last.acc_test, 5), "loss": round(last.loss_test, 5)}
        measured["machine"] = machine()
        rows = [row for row in rows if {k: row[k] for k in row if k not in measured} != run]
        rows.append({**run, **measured})
        print(rows[-1], file=sys.stderr)
        save(f"choice_{args.recipe}", pd.DataFrame(rows))
    print(environment())
    table = pd.DataFrame(rows)
    settings = [c for c in table.columns if c not in ("seed", "accuracy", "loss", "machine")]
    print(table.groupby(settings, dropna=False).accuracy.agg(["mean", "std", "count"]).round(4))


if __name__ == "__main__":
    main()
