"""Your own data on the command line: the options to read it, and its parts."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minibnn.data.aligned import aligned
from minibnn.data.errors import SamplesError
from minibnn.data.read import read_parts, read_samples
from minibnn.data.samples import Samples

if TYPE_CHECKING:
    import argparse

_TRAIN = re.compile(r"(^|[^a-z])train(ing)?([^a-z]|$)", re.IGNORECASE)
_TEST = re.compile(r"(^|[^a-z])(test(ing)?|val(id(ation)?)?|t10k)([^a-z]|$)", re.IGNORECASE)
TEST = 0.2  # of the samples, if the source has no test part
NO = {"header": "--no-header", "classes": "--numbers"}  # the options that say False
READING = ("target", "header", "missing", "size", "colour", "group", "classes")


@dataclass(frozen=True)
class Parts:
    """The training and the test part of a source.

    Attributes:
        train: to train on.
        test: held out.
        chosen: how the test part was chosen, as text.
    """

    train: Samples
    test: Samples
    chosen: str

    @property
    def sha256(self) -> str:
        """Of all samples and targets: by it, data is recognised that a model was trained on."""
        sha = hashlib.sha256()
        for part in (self.train, self.test):
            for array in (part.x, part.y):
                sha.update(f"{array.dtype} {array.shape}".encode())
                sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()


def add_data(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the argument DATA, also as an option."""
    parser.add_argument("data", nargs="?", metavar="DATA", help=what)
    parser.add_argument("--data", dest="data_option", metavar="DATA", help="the same as DATA")


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to read DATA."""
    add = parser.add_argument_group("how to read DATA").add_argument
    # fmt: off
    add("--target", metavar="COLUMN",
        help="of a table: the column to predict, by its name, or without names by its number from "
        "1; default: the last")
    add("--classes", action="store_true", default=None,
        help="take a target of numbers as classes, however many there are")
    add("--numbers", dest="classes", action="store_false", default=None,
        help="take a target of numbers as numbers, however few there are")
    add("--header", action="store_true", default=None,
        help="the table's first row has names; default: as it looks")
    add("--no-header", dest="header", action="store_false", default=None,
        help="the table's first row has data, not names")
    add("--missing", choices=("refuse", "keep", "drop"),
        help="what to do with missing values of a table; default: refuse")
    add("--group", metavar="COLUMN",
        help="samples with equal values here, one person's, never are in both parts")
    add("--size", type=_size, metavar="HxW",
        help="of a folder of images: make all this size, 32x32 say")
    add("--colour", choices=("grey", "rgb"), help="of a folder of images")
    # fmt: on


def _size(text: str) -> tuple[int, int]:
    import argparse

    numbers = text.lower().split("x")
    if not (len(numbers) == 2 and all(n.isascii() and n.isdigit() and int(n) for n in numbers)):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 32x32, got {text!r}")
    height, width = map(int, numbers)
    return height, width


def data_of(given: argparse.Namespace) -> str | None:
    """The source that the user named, or None.

    Raises:
        ValueError: if two are named.
    """
    if given.data is not None and given.data_option is not None:
        raise ValueError(
            f"--data: expected the data once, got {given.data} and {given.data_option}; leave out "
            "one of the two"
        )
    named: str | None = given.data if given.data_option is None else given.data_option
    return named


def require_no_mnist_options(given: argparse.Namespace) -> None:
    """Raise ValueError for options of MNIST beside DATA."""
    for option, used in (
        ("--dataset", given.dataset != "auto"),
        ("--data-dir", given.data_dir is not None),
        ("--no-verify", given.no_verify),
    ):
        if used:
            raise ValueError(
                f"{option}: expected MNIST, or data of your own, got both; leave out {option}"
            )


def require_no_reading(given: argparse.Namespace, *others: str) -> None:
    """Raise ValueError for options of DATA without it.

    Args:
        given: the command line.
        others: names of more options that need DATA.
    """
    for name in (*READING, *others):
        if getattr(given, name, None) is not None:
            option = f"--{name.replace('_', '-')}"
            if name in NO and getattr(given, name) is False:
                option = NO[name]
            raise ValueError(
                f"{option}: expected data of your own to use it on, got none; name the data: "
                "FILE.csv, or a folder"
            )


def reading_of(given: argparse.Namespace, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """How to read the data: the options, and else what a model's figures say."""
    found = {}
    for name in READING:
        value = getattr(given, name, None)
        if value is None and before is not None:
            value = before.get(name)
            if name == "size" and isinstance(value, list):
                value = tuple(value)
        if value is not None:
            found[name] = value
    return found


def read_parts_of(
    path: str,
    reading: dict[str, Any],
    test: str | None = None,
    features: tuple[str, ...] | None = None,
) -> Parts:
    """The parts of a source: its own, those of two files, or four fifths and one.

    The fifth is the same each time: classes have their shares in it, and groups are not divided.

    Args:
        path: the source.
        reading: the arguments of `read_samples`.
        test: another source, with the test part.
        features: the feature names of a model, whose columns are taken from a table.

    Raises:
        DataError: for data that cannot be read; the message says what to do.
    """
    if test is None and has_parts(path):
        train, other = read_parts(path, **reading)
        return Parts(train, aligned(other, **form_of(train)), "its own test part")
    samples = read_samples(path, **reading, features=features)
    if test is not None:
        other = read_samples(test, **reading, features=samples.feature_names)
        return Parts(samples, aligned(other, **form_of(samples)), test)
    train, other = samples.split(TEST, rng=np.random.default_rng(0))
    by = ", each class by its share" * (samples.class_names is not None)
    if samples.groups is not None:
        by = f", no {reading.get('group')} in both"
    return Parts(train, other, f"a fifth, held out{by}")


def require_classes(path: str, samples: Samples) -> None:
    """Raise SamplesError for targets of a single class, of which nothing can be learnt."""
    names = samples.class_names
    if names is not None and len(names) < 2:
        got = f"1 class, {names[0]!r}"
        raise SamplesError(path, "at least 2 classes", got, "name another column: --target COLUMN")


def has_parts(path: str) -> bool:
    """Whether the names in a folder, or of the arrays in a file, are those of two parts."""
    if os.path.isdir(path):
        names = os.listdir(path)
    elif path.casefold().endswith(".npz"):
        import zipfile

        try:
            with zipfile.ZipFile(path) as file:
                names = file.namelist()
        except (OSError, zipfile.BadZipFile):
            return False  # reading it says what is wrong
    else:
        return False
    return all(any(part.search(name) for name in names) for part in (_TRAIN, _TEST))


def form_of(samples: Samples) -> dict[str, Any]:
    """The arguments of `aligned` for other samples."""
    return {
        "shape": samples.x.shape[1:],
        "dtype": str(samples.x.dtype),
        "classes": samples.class_names,
    }
