"""Sets of IDX files in any usual spelling: images, their labels, and the parts.

The name of a file says what is in it: ``train-images-idx3-ubyte.gz``, ``t10k-labels.idx1-ubyte``,
``emnist-letters-test-images-idx3-ubyte``, ``images.idx``.
"""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from minibnn.data.errors import DatasetNotFoundError, SamplesError
from minibnn.data.idx import read_idx
from minibnn.data.samples import Samples

__all__ = ["idx_folder", "idx_parts", "idx_samples"]

_ENDING = re.compile(r"[-._]?idx\d*(?:[-._]?(?:ubyte|byte|short|int|float|double))?$|[-._]ubyte$")
_IMAGES, _LABELS = ("images", "image", "data", "x"), ("labels", "label", "targets", "target", "y")
_TRAIN = ("train", "training")
_TEST = ("test", "t10k", "testing", "val", "valid", "validation")
_Files = dict[tuple[tuple[str, ...], str], dict[str, str]]


def idx_samples(
    path: str | os.PathLike[str],
    *,
    target: str | bool | None = None,
    classes: bool | None = None,
) -> Samples:
    """Samples from an IDX file of images; its labels are in the file of the same spelling.

    Args:
        path: the file of images, plain or gzipped.
        target: the file of labels, or False: there is none.
        classes: whether the labels are classes; by default they are.

    Raises:
        DatasetNotFoundError: one of the files is not there.
        IdxFormatError: one is damaged.
        SamplesError: they do not belong together.
    """
    name = os.fspath(path)
    x = _read(name)
    if x.ndim < 2:
        hint = "name the file of images"
        raise SamplesError(name, "an IDX file of samples", f"labels, shape {x.shape}", hint)
    short = os.path.basename(name)
    shape = "x".join(map(str, x.shape[1:]))
    kind = f"an IDX file: {len(x)} samples of {shape}, {x.dtype}"
    if target is False:
        return Samples.of(x, name=short, kind=kind)
    other = target if isinstance(target, str) else _labels_of(name)
    y = _read(other)
    if y.ndim != 1:
        hint = "name a file of labels with target= (--target)"
        raise SamplesError(other, "labels of shape (n,)", f"shape {y.shape}", hint)
    if len(y) != len(x):
        got = f"{len(x)} in {name} and {len(y)} in {other}"
        raise SamplesError(
            name, "one label for each image", got, "do the two files belong together?"
        )
    kind += f", labels from {os.path.basename(other)!r}"
    made = Samples.of(x, y, name=name, classes=classes is not False, kind=kind)
    from dataclasses import replace

    return replace(made, name=short)


def idx_folder(folder: str) -> bool:
    """Whether a folder has IDX files, by their names."""
    return bool(_sets(folder))


def idx_parts(folder: str, *, classes: bool | None = None, parts: int = 2) -> list[Samples]:
    """The parts of the IDX set in a folder, training first.

    Raises:
        DatasetNotFoundError: there is no such set, or not both parts.
        IdxFormatError, SamplesError: its files are damaged, or do not belong together.
    """
    sets = _sets(folder)
    of: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for (key, part), files in sets.items():
        of.setdefault(key, {})[part] = files
    if len(of) > 1:
        got = ", ".join(repr("-".join(key) or "the one without a name") for key in sorted(of))
        hint = "name a file of images, or move the set into a folder of its own"
        raise SamplesError(folder, "one IDX set", got, hint)
    found = next(iter(of.values()))
    if len(found) != parts:
        got = ", ".join(part or "one without a name" for part in sorted(found))
        hint = (
            "read_parts reads both; or name a file of images" if parts == 1 else
            "read_samples reads one part; or add the files of the other"
        )  # fmt: skip
        raise SamplesError(folder, f"{parts} part{'s' * (parts > 1)} of an IDX set", got, hint)
    samples = []
    for part in sorted(found, key=lambda part: part != "train"):
        files = found[part]
        if "images" not in files:
            there = os.path.basename(files["labels"])
            raise DatasetNotFoundError(
                f"{folder}: expected a file of images beside {there!r}, got none; add it"
            )
        samples.append(idx_samples(files["images"], classes=classes))
    return samples


def _read(name: str) -> np.ndarray[Any, Any]:
    try:
        return read_idx(name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetNotFoundError(
            f"{name}: expected an IDX file that can be read, got {reason}; check the name"
        ) from None


def _words(name: str) -> tuple[tuple[str, ...], str, str, bool]:
    """What a file's name says: the set, the part, what is in it, and whether it says IDX."""
    plain = name.casefold().removesuffix(".gz")
    stem = _ENDING.sub("", plain)
    words = [word for word in re.split(r"[-._ ]+", stem) if word]
    part = next((w for w in words if w in (*_TRAIN, *_TEST)), "")
    role = next((w for w in reversed(words) if w in (*_IMAGES, *_LABELS)), "")
    key = tuple(w for w in words if w not in (part, role))
    part = "train" if part in _TRAIN else "test" if part in ("t10k", "testing") else part
    return key, part, "images" if role in _IMAGES else "labels" if role else "", stem != plain


def _files_in(folder: str, *, idx_only: bool) -> _Files:
    found: _Files = {}
    try:
        names = sorted(os.listdir(folder or "."))
    except OSError as error:
        raise DatasetNotFoundError(
            f"{folder}: expected a folder that can be read, got {error.strerror}; check the name"
        ) from None
    for name in names:
        key, part, role, is_idx = _words(name)
        path = os.path.join(folder, name)
        if role and (is_idx or not idx_only) and not name.startswith("."):
            files = found.setdefault((key, part), {})
            if role not in files or name.endswith(".gz"):  # as for MNIST: gzipped files first
                files[role] = path
    return found


def _sets(folder: str) -> _Files:
    """The IDX files in a folder, or in those that torchvision makes."""
    inner = [os.path.join(folder, "raw")]
    inner += sorted(os.path.join(folder, name, "raw") for name in os.listdir(folder))
    for place in [folder, *filter(os.path.isdir, inner)]:
        found = _files_in(place, idx_only=True)
        if found:
            return found
    return {}


def _labels_of(name: str) -> str:
    """The file of labels that belongs to a file of images."""
    folder, short = os.path.split(name)
    key, part, role, _ = _words(short)
    if role == "images":
        for (other, other_part), files in _files_in(folder, idx_only=False).items():
            if (other, other_part) == (key, part) and "labels" in files:
                return files["labels"]
    raise DatasetNotFoundError(
        f"{name}: expected a file of labels beside it, named as it is with 'labels' for 'images', "
        "got none; name it with target= (--target)"
    )
