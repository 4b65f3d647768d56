"""Read labelled samples: what a path holds is seen from its name, and told.

.. code-block:: text

    .csv .tsv .txt    a table: one row for each sample, the target in the last column or by name
    .npz .npy         arrays
    a folder          images in one folder for each class, or the files of an IDX set
    other names       an IDX file of images, beside that of its labels
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from minibnn.data.errors import DatasetNotFoundError, SamplesError
from minibnn.data.samples import Samples

__all__ = ["read_parts", "read_samples"]

_TABLES = (".csv", ".tsv", ".tab", ".txt", ".data")
_ARRAYS = (".npz", ".npy")


def read_samples(
    path: str | os.PathLike[str],
    *,
    target: str | Sequence[str] | bool | None = None,
    header: bool | None = None,
    missing: str = "refuse",
    size: tuple[int, int] | None = None,
    colour: str | None = None,
    group: str | None = None,
    classes: bool | None = None,
    features: Sequence[str] | None = None,
) -> Samples:
    """Read the samples that a path names; `kind` of the result says what was seen.

    Args:
        path: a table, a file of arrays, a folder of images, or an IDX file or set.
        target: the column or array to be predicted, several columns of numbers, or False: there is
            none. By default the last column of a table.
        header: of a table: whether the first line has the names of the columns.
        missing: ``"refuse"`` missing values, ``"keep"`` them as nan, ``"drop"`` such samples.
        size: of images: (height, width) that all are made.
        colour: of images: ``"grey"`` or ``"rgb"``, which all are made.
        group: the column or array that says what each sample belongs to.
        classes: whether the target is a class; by default as the values suggest.
        features: of a table: the feature names of earlier samples, whose columns are taken.

    Raises:
        DatasetNotFoundError: there is no such file or folder.
        DataError: it holds no samples; with file, place, value and a hint.
        ValueError: for an argument that says nothing about such a source.
    """
    name = os.fspath(path)
    if missing not in ("refuse", "keep", "drop"):
        expected = "missing to be 'refuse', 'keep' or 'drop'"
        raise ValueError(f"read_samples: expected {expected}, got {missing!r}")
    source = _source(name)
    if source == "table":
        from minibnn.data.tables import read_table, table_samples

        _refuse(name, "a table", size=size, colour=colour)
        table = read_table(name, header=header)
        return table_samples(
            table, target=target, missing=missing, group=group, classes=classes, features=features
        )
    if source == "arrays":
        from minibnn.data.arrays import array_samples

        _refuse(name, "arrays", size=size, colour=colour, header=header)
        if not (target is None or isinstance(target, str | bool)):
            raise SamplesError(name, "one array of targets", f"{target!r}", "stack them into one")
        return array_samples(name, target=target, missing=missing, group=group, classes=classes)
    raise _unknown(name)


def read_parts(
    path: str | os.PathLike[str],
    *,
    target: str | Sequence[str] | bool | None = None,
    header: bool | None = None,
    missing: str = "refuse",
    size: tuple[int, int] | None = None,
    colour: str | None = None,
    group: str | None = None,
    classes: bool | None = None,
) -> tuple[Samples, Samples]:
    """Read the training and the test part of a source that has both.

    That is an ``.npz`` file with ``x_train``, ``y_train``, ``x_test`` and ``y_test``, or a folder
    with two tables (``train.csv``, ``test.csv``), two folders of images (``train``, ``test``), or
    the four files of an IDX set. The classes of the test part are numbered as in training.

    Raises:
        DatasetNotFoundError: there is no such source.
        DataError: it has not both parts, or they do not fit each other.
    """
    name = os.fspath(path)
    if _source(name) == "arrays":
        from minibnn.data.arrays import array_parts

        _refuse(name, "arrays", size=size, colour=colour, header=header)
        train, test = array_parts(name, missing=missing, classes=classes)
        return train, _fitting(train, test)
    raise _unknown(name)


def _source(name: str) -> str:
    ending = os.path.splitext(name)[1].casefold()
    if os.path.isdir(name):
        return "folder"
    if not os.path.lexists(name):
        raise DatasetNotFoundError(
            f"{name}: expected a file or a folder, got no such name; check the name"
        )
    return "table" if ending in _TABLES else "arrays" if ending in _ARRAYS else "idx"


def _refuse(name: str, what: str, **arguments: object) -> None:
    """Raise ValueError for arguments that are given, but not for such a source."""
    for argument, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name}: {argument} says nothing about {what}; leave it out")


def _fitting(train: Samples, test: Samples) -> Samples:
    """The test part, with the class numbers of the training part."""
    if train.x.shape[1:] != test.x.shape[1:]:
        expected = f"samples of shape {train.x.shape[1:]} in both parts"
        raise SamplesError(test.name, expected, f"{test.x.shape[1:]}", "prepare both parts alike")
    return test if train.class_names is None else test.with_classes(train.class_names)


def _unknown(name: str) -> SamplesError:
    ending = os.path.splitext(name)[1] or "no ending"
    expected = "a table (.csv, .tsv, .txt), arrays (.npz, .npy), a folder or an IDX file"
    return SamplesError(name, expected, ending, "convert it to one of these")
