"""Measure the default network on small sets of data beside two of scikit-learn's classifiers.

    OPENBLAS_NUM_THREADS=1 python benchmarks/own_data.py            # all sets, 5 x 5 folds
    OPENBLAS_NUM_THREADS=1 python benchmarks/own_data.py --choose   # how the defaults were chosen

The default network is trained as `default_plan` says, packed, and judged by its packed labels, on
the same folds as an `MLPClassifier` and a `LogisticRegression` on standardised features. For each
set the script prints the mean accuracies, the packed bytes, and the 95% interval of the mean
difference to the `MLPClassifier`. Folds share training samples, so the variance of the difference
is corrected (Nadeau and Bengio 2003, Machine Learning 52, section 3: 1/J + n_test/n_train instead
of 1/J). It writes each fold to `benchmarks/results/own_data.csv`, and the environment and the
intervals to `own_data.json`; `--choose` writes `own_data_choice.csv` and `.json`. With `--sets` or
`--repeats` it writes only with `--out FOLDER`.

The defaults were chosen on the sets of `CHOSEN_ON`. Those of `TESTED_ON` had no part in the choice.
The data lie inside the packages scikit-learn, palmerpenguins and sktime; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deployment.networks import installed, read_motions
from harness.contestant import Array
from harness.environment import RESULTS, restart_without_unfair_variables, save_run
from minibnn import Adam, Cosine, DataLoader, LogitCrossEntropy, PackedModel, fit, pack
from minibnn.default_network import default_encoding, default_network, default_plan

FOLDS, REPEATS = 5, 5
OURS, MLP, LINEAR = "minibnn", "MLPClassifier", "LogisticRegression"
PACKAGES = ("scikit-learn", "scipy", "palmerpenguins", "sktime")


@dataclass(frozen=True)
class LabelledData:
    """Samples and their classes.

    Attributes:
        x: as minibnn gets them, in the dtype that a table or a sensor gives.
        y: class numbers.
        plain: rows of float features for scikit-learn; categories are one-hot.
    """

    x: Array
    y: Array
    plain: Array


def of_sklearn(name: str) -> LabelledData:
    """A table of measurements that is part of scikit-learn."""
    table = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
    return LabelledData(table.data.astype(np.float32), table.target, table.data)


def digits() -> LabelledData:
    """8x8 pixels of 0 to 16, as a table of 64 bytes."""
    table = importlib.import_module("sklearn.datasets").load_digits()
    return LabelledData(table.data.astype(np.uint8), table.target, table.data)


def penguins() -> LabelledData:
    """The species by four measurements, the year, the island and the sex; complete rows alone."""
    table = importlib.import_module("palmerpenguins").load_penguins().dropna()
    species = pd.Categorical(table.pop("species")).codes.astype(np.int64)
    coded = table.assign(**{c: pd.Categorical(table[c]).codes for c in ("island", "sex")})
    plain = pd.get_dummies(table, columns=["island", "sex"])
    return LabelledData(coded.to_numpy(np.float32), species, plain.to_numpy(np.float64))


def motions() -> LabelledData:
    """Windows of 100 readings of six channels, in thousandths, as int16."""
    home = Path(installed("sktime")) / "datasets/data/BasicMotions"
    parts = [read_motions(home / f"BasicMotions_{part}.ts") for part in ("TRAIN", "TEST")]
    x = np.concatenate([windows for windows, _ in parts])
    names = [name for _, part in parts for name in part]
    y = pd.Categorical(names).codes.astype(np.int64)
    return LabelledData(x, y, x.reshape(len(x), -1).astype(np.float64))


CHOSEN_ON: dict[str, Callable[[], LabelledData]] = {
    "breast_cancer": lambda: of_sklearn("breast_cancer"),
    "wine": lambda: of_sklearn("wine"),
    "digits": digits,
}
TESTED_ON: dict[str, Callable[[], LabelledData]] = {
    "iris": lambda: of_sklearn("iris"),
    "penguins": penguins,
    "BasicMotions": motions,
}


@dataclass(frozen=True)
class Variant:
    """A network and its training; what is None is the default."""

    hidden: tuple[int, ...] | None = None
    bits: int | None = None
    dropout: float | None = None
    learning_rate: float | None = None
    steps: float = 1.0  # times the default plan's
    real_outputs: bool = False

    def train(self, x: Array, y: Array, seed: int) -> PackedModel:
        """The trained network, packed."""
        named = {name: getattr(self, name) for name in ("hidden", "bits", "dropout")}
        model = default_network(
            x.shape[1:],
            int(y.max()) + 1,
            encoding=default_encoding(x.shape[1:], x.dtype),
            real_outputs=self.real_outputs,
            **{name: value for name, value in named.items() if value is not None},
        ).initialize(seed)
        plan = default_plan(len(x))
        rate = plan.learning_rate if self.learning_rate is None else self.learning_rate
        plan = replace(plan, epochs=math.ceil(self.steps * plan.epochs), learning_rate=rate)
        loader = DataLoader((x, y), plan.batch_size, shuffle=True, drop_last=True, rng=seed)
        schedule = Cosine(plan.learning_rate, 0.0, length=plan.epochs * len(loader))
        fit(
            model, loader, loss=LogitCrossEntropy(), epochs=plan.epochs, evaluate_train=None,
            optimizer=Adam(model.parameters(), schedule), progress=False,
        )  # fmt: skip
        return pack(model)


# Each differs from the default in what its name says.
VARIANTS = {
    "the default": Variant(),
    "hidden 128": Variant(hidden=(128,)),
    "hidden 512": Variant(hidden=(512,)),
    "hidden 128 64": Variant(hidden=(128, 64)),
    "4 bits": Variant(bits=4),
    "16 bits": Variant(bits=16),
    "no dropout": Variant(dropout=0.0),
    "dropout 0.4": Variant(dropout=0.4),
    "learning rate 0.003": Variant(learning_rate=0.003),
    "learning rate 0.03": Variant(learning_rate=0.03),
    "half the steps": Variant(steps=0.5),
    "twice the steps": Variant(steps=2.0),
    "real outputs": Variant(real_outputs=True),
}


def folds(y: Array, repeats: int) -> Iterator[tuple[int, Array, Array]]:
    """A seed, and the samples to train and to test, of each stratified fold."""
    selection = importlib.import_module("sklearn.model_selection")
    splitter = selection.RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=0)
    for i, (train, test) in enumerate(splitter.split(y, y)):
        yield i, train, test


def classifier(name: str, seed: int) -> Any:
    """A classifier of scikit-learn on standardised features, as its defaults have it."""
    pipeline = importlib.import_module("sklearn.pipeline")
    scaler = importlib.import_module("sklearn.preprocessing").StandardScaler()
    if name == MLP:
        room = importlib.import_module("sklearn.neural_network")
        return pipeline.make_pipeline(scaler, room.MLPClassifier(max_iter=500, random_state=seed))
    room = importlib.import_module("sklearn.linear_model")
    return pipeline.make_pipeline(scaler, room.LogisticRegression(max_iter=2000))


def measure(data: LabelledData, repeats: int, ours: dict[str, Variant]) -> list[dict[str, Any]]:
    """Accuracy, seconds of training and bytes of each fold, for each contestant."""
    rows = []
    for i, train, test in folds(data.y, repeats):
        shared = {"fold": i, "n_train": len(train), "n_test": len(test)}
        for name, variant in ours.items():
            begun = time.perf_counter()
            packed = variant.train(data.x[train], data.y[train], i)
            seconds = time.perf_counter() - begun
            right = packed.predict(data.x[test]) == data.y[test]
            rows.append({**shared, "contestant": name, "accuracy": right.mean(),
                         "seconds": seconds, "bytes": packed.nbytes})  # fmt: skip
        for name in (MLP, LINEAR):
            begun = time.perf_counter()
            with warnings.catch_warnings():  # the last iteration counts, converged or not
                warnings.simplefilter("ignore")
                fitted = classifier(name, i).fit(data.plain[train], data.y[train])
            seconds = time.perf_counter() - begun
            accuracy = fitted.score(data.plain[test], data.y[test])
            rows.append({**shared, "contestant": name, "accuracy": accuracy, "seconds": seconds})
    return rows


def interval(difference: Array, n_train: float, n_test: float) -> tuple[float, float, float]:
    """The mean of the folds' differences, and the ends of its corrected 95% interval."""
    n = len(difference)
    quantile = importlib.import_module("scipy.stats").t.ppf(0.975, n - 1)
    half = quantile * math.sqrt((1 / n + n_test / n_train) * difference.var(ddof=1))
    mean = float(difference.mean())
    return mean, mean - half, mean + half


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each set and each network of minibnn."""
    rows = []
    for (name, ours), its in table[table.bytes.notna()].groupby(["set", "contestant"], sort=False):
        rivals = {
            rival: table[(table.set == name) & (table.contestant == rival)].accuracy.to_numpy()
            for rival in (MLP, LINEAR)
        }
        mean, low, high = interval(
            its.accuracy.to_numpy() - rivals[MLP], its.n_train.mean(), its.n_test.mean()
        )
        rows.append({
            "set": name, "network": ours, "accuracy": its.accuracy.mean(),
            **{rival: accuracy.mean() for rival, accuracy in rivals.items()},
            "difference": mean, "low": low, "high": high, "bytes": int(its.bytes.median()),
            "seconds": its.seconds.median(),
        })  # fmt: skip
    return pd.DataFrame(rows)


def summary_markdown(rows: list[dict[str, Any]]) -> str:
    """The kept summary of a whole run, as `docs/decisions/training.md` has it."""
    head = ("set", "minibnn", MLP, LINEAR, "difference (95% interval)", "packed bytes")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        means = " | ".join(f"{row[name]:.3f}" for name in ("accuracy", MLP, LINEAR))
        difference = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        lines.append(f"| {row['set']} | {means} | {difference} | {row['bytes']:,} |")
    return "\n".join(lines) + "\n"


def choice_markdown(rows: list[dict[str, Any]]) -> str:
    """The kept summary of ``--choose``, as `docs/decisions/training.md` has it."""
    table = pd.DataFrame(rows)
    wide = table.pivot(index="network", columns="set", values="accuracy").loc[list(VARIANTS)]
    size = table[table.set == "breast_cancer"].set_index("network").bytes
    head = ("what differs", *CHOSEN_ON, "mean", "bytes")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, row in wide[list(CHOSEN_ON)].iterrows():
        means = " | ".join(f"{value:.3f}" for value in (*row, row.mean()))
        lines.append(f"| {name} | {means} | {size[str(name)]:,} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Measure the default network on small sets.")
    add = parser.add_argument
    add("--choose", action="store_true", help="compare other settings with the defaults, on "
        f"{', '.join(CHOSEN_ON)} alone")  # fmt: skip
    add("--variants", nargs="+", choices=VARIANTS, metavar="NAME", help="with --choose: only these")
    add("--sets", nargs="+", choices=[*CHOSEN_ON, *TESTED_ON], metavar="NAME", help="only these")
    add("--repeats", type=int, metavar="N", help=f"of {FOLDS} folds; default: {REPEATS}, or 2 "
        "with --choose")  # fmt: skip
    add("--out", type=Path, metavar="FOLDER", help="write the results there; default: "
        "benchmarks/results for all sets and folds, nowhere for fewer")  # fmt: skip
    args = parser.parse_args()
    restart_without_unfair_variables()
    sets = CHOSEN_ON if args.choose else CHOSEN_ON | TESTED_ON
    chosen = args.sets or list(sets)
    names = (args.variants or list(VARIANTS)) if args.choose else []
    ours = {name: VARIANTS[name] for name in names} or {OURS: Variant()}
    repeats = args.repeats or (2 if args.choose else REPEATS)
    begun = time.perf_counter()
    tables = []
    for name in chosen:
        table = pd.DataFrame(measure((CHOSEN_ON | TESTED_ON)[name](), repeats, ours))
        tables.append(table.assign(set=name))
        print(summary(tables[-1]).to_string(index=False, float_format="{:.4f}".format), flush=True)
    table = pd.concat(tables)
    whole = not (args.sets or args.repeats or args.variants)
    out = args.out or (RESULTS if whole else None)
    if out is not None:
        found = {p: importlib.metadata.version(p) for p in PACKAGES if _is_installed(p)}
        save_run(
            out, "own_data_choice" if args.choose else "own_data", table, (), threads=1,
            left_out=(), packages=found, seconds=round(time.perf_counter() - begun),
            summary=summary(table).round(4).to_dict(orient="records"),
        )  # fmt: skip


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
