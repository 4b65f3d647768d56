"""From a DataFrame to a C header: a pipeline of scikit-learn, a grid search, and the compiler.

    pip install -e ".[sklearn]" && python examples/sklearn_pipeline.py --out wine

The table has 178 wines of three kinds, with 13 measurements of each. A pipeline keeps the columns
that say most about the kind, and trains a binary network on them; a grid search chooses how many
columns, the width of the network, and how a number becomes bits. The best network is exported with
the names of its columns and kinds. If there is a C compiler, the header is compiled and run on the
test part, whose labels have to be those of Python.

There is no scaler in the pipeline: the network compares raw numbers with thresholds, so the header
takes what the instrument gives.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from minibnn import export_c
from minibnn.atomic_file import whole_file
from minibnn.packed import PackedModel

try:
    from sklearn.datasets import load_wine
    from sklearn.feature_selection import SelectKBest
    from sklearn.model_selection import GridSearchCV, train_test_split
    from sklearn.pipeline import Pipeline
except ImportError:
    sys.exit('This example needs scikit-learn: pip install -e ".[sklearn]"')

from minibnn.sklearn import BinaryNetClassifier

KINDS = {0: "Barolo", 1: "Grignolino", 2: "Barbera"}
GRID = {
    "columns__k": [8, 13],
    "network__hidden": [(32,), (128,)],
    "network__encoding": ["thermometer", "uniform"],
}
PROGRAM = """\
#include <stdio.h>
#define WINE_SELFTEST
#include "wine.h"
int main(void)
{
    float sample[WINE_INPUTS];
    if (wine_selftest() != 0)
        return 1;
    while (fread(sample, sizeof sample, 1, stdin) == 1)
        printf("%s\\n", wine_class_name(wine_predict(sample)));
    return 0;
}
"""


def search(X: Any, y: Any, epochs: int | None, seed: int) -> GridSearchCV:
    """The grid search, done."""
    network = BinaryNetClassifier(epochs=epochs, random_state=seed)
    pipeline = Pipeline([("columns", SelectKBest()), ("network", network)])
    pipeline.set_output(transform="pandas")  # so that the network knows the columns' names
    return GridSearchCV(pipeline, GRID, cv=3).fit(X, y)


def labels_in_c(packed: PackedModel, samples: np.ndarray[Any, Any], out: Path) -> list[str] | None:
    """The labels that the compiled header gives; None if there is no compiler."""
    export_c(packed, out / "wine.h", name="wine")
    with whole_file(out / "main.c") as file:
        file.write(PROGRAM.encode())
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "main.c", "-o", "wine"], cwd=out, check=True)
    done = subprocess.run([(out / "wine").resolve()], input=samples.tobytes(), capture_output=True)
    done.check_returncode()
    return done.stdout.decode().splitlines()


def main(arguments: list[str] | None = None) -> int:
    """Search, export, compile, compare."""
    parser = argparse.ArgumentParser(description="From a DataFrame to a C header, by a pipeline.")
    add = parser.add_argument
    add("--out", type=Path, default=Path("wine"), metavar="FOLDER", help="default: %(default)s")
    add("--epochs", type=int, default=None, metavar="N", help="default: about 2,000 steps")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)

    data = load_wine(as_frame=True)
    kinds = data.target.map(KINDS)
    X, X_test, y, y_test = train_test_split(
        data.data, kinds, test_size=0.3, stratify=kinds, random_state=args.seed
    )
    found = search(X, y, args.epochs, args.seed)
    print(f"best of {len(found.cv_results_['params'])}: {found.best_params_}")
    print(f"accuracy in cross-validation {found.best_score_:.3f}")
    print(f"accuracy on the test part    {found.score(X_test, y_test):.3f}")

    best = found.best_estimator_
    packed = best["network"].pack()
    print(packed)
    samples = best["columns"].transform(X_test).to_numpy(np.float32)
    in_c = labels_in_c(packed, samples, args.out)
    print(f"wrote {args.out / 'wine.h'}")
    if in_c is None:
        print("not compiled: no C compiler")
        return 0
    same = int((np.array(in_c) == best.predict(X_test)).sum())
    print(f"compiled: {same} of {len(samples)} labels as in Python")
    return 0 if same == len(samples) else 1


if __name__ == "__main__":
    sys.exit(main())
