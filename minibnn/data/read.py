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

__all__ = ["ENDINGS", "read_parts", "read_samples"]

_TABLES = (".csv", ".tsv", ".tab", ".txt", ".data")
_ARRAYS = (".npz", ".npy")
_TRAIN, _TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation")
_SAVE = "save it as CSV in UTF-8"
_OTHERS = {
    ".xls": _SAVE, ".xlsx": _SAVE, ".ods": _SAVE, ".parquet": _SAVE, ".feather": _SAVE,
    ".json": _SAVE, ".arff": _SAVE, ".sqlite": _SAVE,
    ".h5": "save the arrays with numpy.savez", ".hdf5": "save the arrays with numpy.savez",
    ".mat": "save the arrays with numpy.savez", ".pkl": "save the arrays with numpy.savez",
    ".pickle": "save the arrays with numpy.savez", ".pt": "save the arrays with numpy.savez",
    ".zip": "unpack it first", ".tar": "unpack it first", ".tgz": "unpack it first",
    ".png": "name the folder of images", ".jpg": "name the folder of images",
    ".jpeg": "name the folder of images",
    ".safetensors": "name the data that it is to see", ".onnx": "name the data that it is to see",
}  # fmt: skip
ENDINGS = (*_TABLES, *_ARRAYS, *_OTHERS)  # of the files that it knows, also of those it cannot read


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
    if source == "a table":
        from minibnn.data.tables import read_table, table_samples

        _refuse(name, "a table", size=size, colour=colour)
        table = read_table(name, header=header)
        return table_samples(
            table, target=target, missing=missing, group=group, classes=classes, features=features
        )
    _refuse(name, source, header=header)
    if source == "arrays":
        from minibnn.data.arrays import array_samples

        _refuse(name, source, size=size, colour=colour)
        one = _one_target(name, target)
        return array_samples(name, target=one, missing=missing, group=group, classes=classes)
    _refuse(name, source, group=group)
    if source == "an IDX file":
        from minibnn.data.idx_sets import idx_samples

        _refuse(name, source, size=size, colour=colour)
        return idx_samples(name, target=_one_target(name, target), classes=classes)
    return _read_folder(name, target, size, colour, classes)


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
    source = _source(name)
    if source == "arrays":
        from minibnn.data.arrays import array_parts

        _refuse(name, source, size=size, colour=colour, header=header, group=group, target=target)
        train, test = array_parts(name, missing=missing, classes=classes)
        return train, _fitting(train, test)
    if source != "a folder":
        hint = "split the samples: read_samples(path).split(0.2, rng=0)"
        raise SamplesError(name, "a source with a training and a test part", source, hint)
    first, second = _two_parts(name)
    if not first:
        from minibnn.data.idx_sets import idx_folder, idx_parts

        if not idx_folder(name):
            hint = "split the samples: read_samples(path).split(0.2, rng=0)"
            expected = "folders train and test, tables train.csv and test.csv, or four IDX files"
            raise SamplesError(name, expected, _contents(name), hint)
        _refuse(name, "IDX", size=size, colour=colour, header=header, group=group, target=target)
        train, test = idx_parts(name, classes=classes)
        return train, _fitting(train, test)
    train = read_samples(
        first, target=target, header=header, missing=missing, size=size, colour=colour, group=group,
        classes=classes,
    )  # fmt: skip
    known = None if _source(second) == "a folder" else train.class_names is not None
    test = read_samples(
        second, target=target, header=header, missing=missing, size=size, colour=colour,
        group=group, classes=known,
        features=train.feature_names if _source(second) == "a table" else None,
    )  # fmt: skip
    return train, _fitting(train, test)


def _read_folder(
    name: str,
    target: str | Sequence[str] | bool | None,
    size: tuple[int, int] | None,
    colour: str | None,
    classes: bool | None,
) -> Samples:
    """The samples in a folder: an IDX set of one part, or images by class."""
    from minibnn.data.folders import folder_samples
    from minibnn.data.idx_sets import idx_folder, idx_parts

    if _two_parts(name)[0]:
        got = ", ".join(map(os.path.basename, _two_parts(name)))
        raise SamplesError(name, "one part", got, "read_parts reads both; or name one of them")
    if idx_folder(name):
        _refuse(name, "IDX", size=size, colour=colour, target=target)
        return idx_parts(name, classes=classes, parts=1)[0]
    _refuse(name, "images", classes=None if classes else classes)  # they have classes
    if target not in (None, False):
        raise ValueError(f"{name}: target says nothing about images by class; leave it out")
    files = [n for n in sorted(os.listdir(name)) if _ending(n) in (*_TABLES, *_ARRAYS)]
    if files and not any(os.path.isdir(os.path.join(name, n)) for n in os.listdir(name)):
        hint = "name the file itself"
        raise SamplesError(name, "images or IDX files in a folder", repr(files[0]), hint)
    return folder_samples(name, target=False if target is False else None, size=size, colour=colour)


def _two_parts(name: str) -> tuple[str, str]:
    """The training and the test part in a folder, folders or tables; empty if it has none."""
    found: dict[str, list[str]] = {}
    for entry in sorted(os.listdir(name)):
        stem, ending = os.path.splitext(entry.casefold())
        path = os.path.join(name, entry)
        if os.path.isdir(path) or ending in _TABLES:
            found.setdefault(stem, []).append(path)
    train = next((found[word] for word in _TRAIN if word in found), [])
    test = next((found[word] for word in _TEST if word in found), [])
    if not train or not test:
        return "", ""
    for paths in (train, test):
        if len(paths) > 1:
            got = ", ".join(repr(os.path.basename(path)) for path in paths)
            raise SamplesError(name, "one training and one test part", got, "remove one of the two")
    return train[0], test[0]


def _one_target(name: str, target: str | Sequence[str] | bool | None) -> str | bool | None:
    if target is None or isinstance(target, str | bool):
        return target
    got = f"{list(target)}"
    raise SamplesError(name, "one name of targets", got, "name the one that holds all of them")


def _source(name: str) -> str:
    """What a path is, by its name.

    Raises:
        DatasetNotFoundError: there is nothing of that name.
        SamplesError: its name is of another kind of file.
    """
    if os.path.isdir(name):
        return "a folder"
    if "\0" in name or not os.path.lexists(name):
        raise DatasetNotFoundError(
            f"{name}: expected a file or a folder, got no such name; check the name"
        )
    ending = _ending(name)
    if ending in _TABLES:
        return "a table"
    if ending in _ARRAYS:
        return "arrays"
    if ending in _OTHERS:
        hint = _OTHERS[ending]
        raise SamplesError(name, "a table, arrays, a folder of images or an IDX file", ending, hint)
    return "an IDX file"


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].casefold()


def _contents(name: str) -> str:
    names = sorted(os.listdir(name))
    return ", ".join(map(repr, names[:8])) + " and more" * (len(names) > 8) or "an empty folder"


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
