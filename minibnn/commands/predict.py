"""``python -m minibnn predict``: what a packed model says about data of one's own."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.backend import get_backend
from minibnn.commands import shared
from minibnn.commands.own_input import at_once, header_for, is_of_numbers, unlabelled
from minibnn.data.options import add_data, add_reading, data_of
from minibnn.packed import PackedModel

if TYPE_CHECKING:
    import pandas as pd

DESCRIPTION = """\
Write what a packed model says about each sample, as CSV: a column `prediction` with the class, and
a column for each class with its score, an integer (the greatest decides). Of a model of numbers,
`prediction` is the number. A target in the data is ignored, so it may be absent. Rows are in
the order of the data."""
EPILOG = """\
examples:
  python -m minibnn predict sensor.safetensors new.csv -o predictions.csv
  python -m minibnn predict sensor.safetensors new.csv | head"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    shared.describe(parser, DESCRIPTION, EPILOG)
    shared.add_file(parser)
    add_data(parser, "your own data, as in train")
    parser.add_argument("-o", "--output", metavar="OUT.csv",
                        help="the file to write, else stdout")  # fmt: skip
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"),
                        help="default: auto, the GPU if it works and else the CPU")  # fmt: skip
    add_reading(parser)


def run(given: argparse.Namespace) -> int:
    """Predict, and write the table."""
    path = data_of(given)
    if path is None:
        raise ValueError(
            "predict: expected data to predict from, got none; name it behind the model: FILE DATA"
        )
    packed = shared.read_packed(given.file)
    output = None
    if given.output is not None:
        shared.require_another_file(given.output, given.file, path)
        output = shared.check_output(given.output, shared.TABLE)
    samples = unlabelled(packed, path, given)
    backend = get_backend(given.device)
    x = backend.asarray(at_once(packed, samples))
    table = _table(packed, *(backend.to_host(f(x)) for f in _functions(packed)))
    text = table.to_csv(index=False, lineterminator="\n")
    shared.note(f"{path}: {samples.kind}")
    follows = shared.next_step("export", "c", given.file, "-o", header_for(given.file))
    if is_of_numbers(packed):
        follows = shared.next_step("inspect", given.file)
    if output is None:
        sys.stdout.write(text)
        shared.note(follows)
        return 0
    with whole_file(output) as file:
        file.write(text.encode())
    print(f"{given.output}: {shared.several(len(table), 'prediction')}")
    print(follows)
    return 0


def _functions(packed: PackedModel) -> list[Any]:
    return [packed.logits] if is_of_numbers(packed) else [packed.predict_scores, packed.predict]


def _table(packed: PackedModel, scores: Any, labels: Any = None) -> pd.DataFrame:
    """The columns of the file."""
    import pandas as pd

    if labels is None:
        one = scores.shape[1] == 1
        columns = ["prediction"] if one else [f"prediction {k}" for k in range(scores.shape[1])]
        return pd.DataFrame(scores, columns=columns)
    names = packed.class_names or tuple(map(str, range(max(2, packed.classes))))
    if scores.shape[1] == 1:  # of the second class; at least 0 says it is that one
        names_of_scores = [f"score {names[1]}"]
    else:
        names_of_scores = [f"score {name}" for name in names]
    table = pd.DataFrame(scores, columns=names_of_scores)
    table.insert(0, "prediction", np.array(names, dtype=object)[labels])
    return table
