"""Data for a model that is there: read as it was in training, and in the model's form."""

from __future__ import annotations

import argparse
import os
import re
from typing import Any

import numpy as np

from minibnn.data.aligned import aligned
from minibnn.data.errors import DataError
from minibnn.data.folders import subfolders
from minibnn.data.idx_sets import idx_folder
from minibnn.data.options import has_parts, read_parts_of, reading_of
from minibnn.data.read import read_samples
from minibnn.data.samples import Samples
from minibnn.packed import PackedModel

# The types of what a file's figures may say about reading; anybody can write a file.
TYPES = {"target": str, "header": bool, "missing": str, "size": list, "colour": str, "group": str,
         "classes": bool}  # fmt: skip


def form(packed: PackedModel) -> dict[str, Any]:
    """The arguments of `aligned` for a model's input."""
    return {
        "shape": packed.input_shape,
        "dtype": packed.input_dtype,
        "classes": packed.class_names,
    }


def reading_for(packed: PackedModel, path: str, given: argparse.Namespace) -> dict[str, Any]:
    """How to read data for a model: by the options, or else as in its training."""
    figures = {
        name: packed.training[name]
        for name, kind in TYPES.items()
        if type(packed.training.get(name)) is kind
    }
    found = reading_of(given, figures)
    if "classes" not in found and not os.path.isdir(path):
        if packed.class_names is not None:
            found["classes"] = True
        elif is_of_numbers(packed):
            found["classes"] = False
    return found


def labelled(packed: PackedModel, path: str, given: argparse.Namespace) -> tuple[Samples, str]:
    """Samples with targets, and in words which of the source's they are.

    Of the data that the model was trained on, this is the held-out part, unless ``--split`` names
    another one; of other data, all.
    """
    reading, features = reading_for(packed, path, given), packed.feature_names
    divided = has_parts(path)
    if divided and given.split == "all":
        raise ValueError(
            f"--split: expected test or train of {path}, which has both parts, got all; choose one"
        )
    known = divided or (given.split is None and _knows(packed, path, reading))
    if given.split == "all" or (given.split is None and not known):
        samples = read_samples(path, **reading, features=features)
        return aligned(samples, **form(packed)), "all of it"
    parts = read_parts_of(path, reading, features=features)
    part = parts.train if given.split == "train" else parts.test
    what = "the training part" if given.split == "train" else f"the test part ({parts.chosen})"
    return aligned(part, **form(packed)), what


def _knows(packed: PackedModel, path: str, reading: dict[str, Any]) -> bool:
    """Whether a model was trained on a part of this source."""
    digest = packed.training.get("data_sha256")
    if not isinstance(digest, str):
        return False
    try:
        return read_parts_of(path, reading, features=packed.feature_names).sha256 == digest
    except DataError:
        return False  # too few samples for two parts; what else is wrong, the next reading says


def unlabelled(packed: PackedModel, path: str, given: argparse.Namespace) -> Samples:
    """Samples whose targets do not matter, or are not there."""
    reading = reading_for(packed, path, given)
    if has_parts(path):
        test = read_parts_of(path, reading).test
        return aligned(test, **form(packed), labelled=False)
    for name in ("target", "classes", "group"):
        reading.pop(name, None)
    # A folder of folders has its classes, and an IDX set its labels.
    if not os.path.isdir(path) or not (subfolders(path) or idx_folder(path)):
        reading["target"] = False
    found = read_samples(path, **reading, features=packed.feature_names)
    return aligned(found, **form(packed), labelled=False)


def at_once(packed: PackedModel, samples: Samples) -> Any:
    """The samples as one array in the model's shape."""
    return np.ascontiguousarray(samples.x).reshape(-1, *packed.input_shape)


def is_of_numbers(packed: PackedModel) -> bool:
    """Whether a model predicts numbers: `train` says so in its figures."""
    return packed.class_names is None and "r2" in packed.training


def header_for(file: str) -> str:
    """The name of a C header beside a model's file.

    >>> header_for("models/sensor.safetensors")
    'models/sensor.h'
    """
    return re.sub(r"\.safetensors$", "", file) + ".h"


def c_name(path: str) -> str:
    """A prefix for the names in a header, from the name of its file.

    >>> c_name("out/my sensor-2.h"), c_name("7.h"), c_name("_.h")
    ('my_sensor_2', 'net_7', 'net')
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem, flags=re.ASCII).strip("_")[:24].strip("_")
    return name if name[:1].isalpha() else f"net_{name}".strip("_")
