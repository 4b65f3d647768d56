"""NumPy's files: one array in ``.npy``, several in ``.npz``. Nothing in them is ever executed.

Arrays of Python objects need pickle, which runs what the file says, and are refused.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from minibnn.data.errors import SamplesError
from minibnn.data.files import MOST_BYTES, open_source
from minibnn.data.samples import Samples

__all__ = ["array_parts", "array_samples", "read_npy", "read_npz"]

_Any: TypeAlias = np.ndarray[Any, Any]
_CHUNK = 1 << 20
_MOST_ARRAYS = 1000
_INPUTS = ("x", "data", "images", "image", "features", "inputs", "input", "samples", "signals")
_TARGETS = ("y", "target", "targets", "labels", "label", "classes", "class")
_TRAIN, _TEST = ("train", "training"), ("test", "testing", "valid", "validation", "val")
_AGAIN = "the file is damaged: save it again"


def read_npy(path: str | os.PathLike[str], *, max_bytes: int = MOST_BYTES) -> _Any:
    """Read the array in an ``.npy`` file.

    Raises:
        DatasetNotFoundError: there is no such file.
        SamplesError: it is damaged or larger than `max_bytes`, or has Python objects.
    """
    name = os.fspath(path)
    with open_source(name) as (file, size):
        return _array(name, file, size, max_bytes)


def read_npz(path: str | os.PathLike[str], *, max_bytes: int = MOST_BYTES) -> dict[str, _Any]:
    """Read the arrays in an ``.npz`` file, by their names.

    Args:
        path: the file.
        max_bytes: the most that all arrays may have, unpacked.

    Raises:
        DatasetNotFoundError: there is no such file.
        SamplesError: it is damaged or larger than `max_bytes`, or has Python objects.
    """
    name = os.fspath(path)
    with open_source(name) as (file, size):
        if not size:
            raise SamplesError(name, "an .npz file", "an empty file", "save it with numpy.savez")
        cut = file.read(4) == b"PK\x03\x04"  # the list of the members is at the end
        file.seek(0)
        try:
            with zipfile.ZipFile(file) as archive:
                return _members(name, archive, max_bytes)
        except SamplesError:
            raise
        except Exception as e:  # zipfile fails in many ways: with OSError and RuntimeError, too
            hint = "save it with numpy.savez"
            got = "an archive that is damaged or cut short" if cut else "something else"
            raise SamplesError(name, "an .npz file", f"{got} ({e})", hint) from None


def array_samples(
    path: str | os.PathLike[str],
    *,
    target: str | bool | None = None,
    missing: str = "refuse",
    group: str | None = None,
    classes: bool | None = None,
) -> Samples:
    """Samples from an ``.npz`` file with one part, or from an ``.npy`` file.

    An ``.npz`` file has an array such as ``x``, ``data`` or ``images``, and one such as ``y``,
    ``target`` or ``labels``; ``feature_names`` and ``class_names`` (or ``target_names``) are used
    if they are there. Of an array in ``.npy`` the last column is the target.

    Args:
        path: the file.
        target: the name of the array, or the number of the column from 1. False: there is none.
        missing: what to do with nan in x.
        group: the name of the array that says what each sample belongs to.
        classes: whether the targets are classes.

    Raises:
        DatasetNotFoundError, SamplesError: there is no such file, or it has no samples.
    """
    name = os.fspath(path)
    short = os.path.basename(name)
    if name.casefold().endswith(".npy"):
        if group is not None:
            hint = "save several arrays with numpy.savez"
            raise SamplesError(name, f"an array {group!r} of groups", "one array", hint)
        array = read_npy(name)
        x, y, what = _columns(name, array, target)
        return _made(name, short, x, y, {}, None, missing, classes, what)
    arrays = read_npz(name)
    parts = {key: _role(key) for key in arrays}
    if any(part for part, _ in parts.values()) and target is None:
        hint = "read_parts reads both; name a file with one part, or an array with target="
        got = ", ".join(map(repr, arrays))
        raise SamplesError(name, "one part", got, hint)
    return _part(name, short, arrays, target, missing, group, classes, "")


def array_parts(
    path: str | os.PathLike[str], *, missing: str = "refuse", classes: bool | None = None
) -> tuple[Samples, Samples]:
    """The training and the test part of an ``.npz`` file (``x_train``, ``train_images``, ...).

    A validation part takes the place of a test part that is not there.

    Raises:
        DatasetNotFoundError, SamplesError: there is no such file, or it has not both parts.
    """
    name = os.fspath(path)
    short = os.path.basename(name)
    arrays = read_npz(name)
    shared = {key: a for key, a in arrays.items() if not _role(key)[0]}
    found = []
    for part, words in (("train", _TRAIN), ("test", _TEST)):
        for word in words:
            own = {_role(key)[1]: a for key, a in arrays.items() if _role(key)[0] == word}
            if own:
                break
        else:
            got = ", ".join(map(repr, arrays)) or "none"
            hint = "read_samples reads a file with one part; save x_train, y_train, x_test, y_test"
            raise SamplesError(name, f"arrays of a {part} part", got, hint)
        label = f"{part} part of "
        found.append(_part(name, short, {**shared, **own}, None, missing, None, classes, label))
        classes = found[0].class_names is not None
    return found[0], found[1]


def _part(
    name: str,
    short: str,
    arrays: Mapping[str, _Any],
    target: str | bool | None,
    missing: str,
    group: str | None,
    classes: bool | None,
    label: str,
) -> Samples:
    """The samples of one part, from arrays whose names say what they are."""
    left = dict(arrays)
    names = _texts(_take(left, ("feature_names",)))
    class_names = _texts(_take(left, ("class_names", "target_names")))
    groups = None if group is None else _named(name, left, group, "groups")
    y = None
    if isinstance(target, str):
        y = _named(name, left, target, "targets")
    else:
        y = _take(left, _TARGETS)
        if target is False:
            y = None
        elif y is None and set(left) == {"arr_0", "arr_1"}:
            y = left.pop("arr_1")
    x = _take(left, _INPUTS)
    if x is None and len(left) == 1:
        (x,) = left.values()
    shown = ", ".join(map(repr, arrays)) or "none"
    if x is None:
        hint = "call the array of samples x, and that of targets y: numpy.savez(FILE, x=x, y=y)"
        raise SamplesError(name, f"an array of samples, {', '.join(_INPUTS)}", shown, hint)
    if y is None and target is not False:
        hint = "call it y, or name it with target= (--target)"
        raise SamplesError(name, f"an array of targets, {', '.join(_TARGETS)}", shown, hint)
    extra = {"feature_names": names, "class_names": class_names}
    return _made(name, short, x, y, extra, groups, missing, classes, label)


def _made(
    name: str,
    short: str,
    x: _Any,
    y: _Any | None,
    extra: Mapping[str, Any],
    groups: _Any | None,
    missing: str,
    classes: bool | None,
    label: str,
) -> Samples:
    from dataclasses import replace

    if y is not None and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y is not None and len(y) != len(x):
        got = f"x of shape {x.shape} and y of shape {y.shape}"
        raise SamplesError(name, "one target for each sample", got, "do they belong together?")
    class_names = extra.get("class_names")
    names = extra.get("feature_names")
    if names is not None and len(names) != x.shape[-1]:
        names = None
    if y is not None and y.dtype.kind not in "iub":
        class_names = None
    samples = Samples.of(
        x, y, name=name, classes=classes, groups=groups, missing=missing, feature_names=names,
        class_names=class_names,
    )  # fmt: skip
    shape = "x".join(map(str, samples.x.shape[1:]))
    kind = f"{label}arrays: {len(samples)} samples of {shape}, {x.dtype}, {samples.target}"
    return replace(samples, name=short, kind=kind)


def _columns(name: str, array: _Any, target: str | bool | None) -> tuple[_Any, _Any | None, str]:
    """Return x and y of one array, and what was seen."""
    if target is False:
        return array, None, ""
    if array.ndim != 2 or array.shape[1] < 2:
        hint = "save x and y together: numpy.savez(FILE, x=x, y=y)"
        expected = "an array of two columns or more, the last one with the targets"
        raise SamplesError(name, expected, f"shape {array.shape}", hint)
    at = array.shape[1]
    if isinstance(target, str):
        if not target.isdecimal() or not 1 <= int(target) <= array.shape[1]:
            expected = f"the number of a column from 1 to {array.shape[1]} as target"
            raise SamplesError(name, expected, f"{target!r}", "leave it out for the last column")
        at = int(target)
    y = array[:, at - 1]
    if y.dtype.kind == "f" and np.isfinite(y).all() and (y == np.floor(y)).all():
        different = len(np.unique(y))
        if different <= 100 and 2 * different <= len(y) and np.abs(y).max() < 2**53:
            y = y.astype(np.int64)
    return np.delete(array, at - 1, 1), y, f"column {at} as target, "


def _take(arrays: dict[str, _Any], names: tuple[str, ...]) -> _Any | None:
    """The first array of these names, without regard to case, taken out."""
    for name in names:
        for key in arrays:
            if key.casefold() == name:
                return arrays.pop(key)
    return None


def _named(name: str, arrays: dict[str, _Any], key: str, what: str) -> _Any:
    if key not in arrays:
        got = ", ".join(map(repr, arrays)) or "none"
        hint = "name one of these arrays"
        raise SamplesError(name, f"an array of {what} named {key!r}", got, hint)
    return arrays.pop(key)


def _texts(array: _Any | None) -> list[str] | None:
    return None if array is None or array.ndim != 1 else [str(text) for text in array.tolist()]


def _role(key: str) -> tuple[str, str]:
    """The part that an array belongs to, or "", and its name without that: x_train is x."""
    words = key.casefold().replace("-", "_").split("_")
    part = next((w for w in words if w in (*_TRAIN, *_TEST)), "")
    if part:
        words.remove(part)
        return part, "_".join(words)
    for start in ("x", "y"):
        if key.casefold() in (f"{start}{word}" for word in (*_TRAIN, *_TEST)):
            return key[1:].casefold(), start
    return "", key


def _members(name: str, archive: zipfile.ZipFile, max_bytes: int) -> dict[str, _Any]:
    infos = archive.infolist()
    total = sum(info.file_size for info in infos)
    if total > max_bytes:
        raise SamplesError(name, f"at most {max_bytes} bytes", f"{total}", "split the file")
    if not infos or len(infos) > _MOST_ARRAYS:
        expected = f"from 1 to {_MOST_ARRAYS} arrays"
        raise SamplesError(name, expected, f"{len(infos)}", "save it with numpy.savez")
    arrays = {}
    for info in infos:
        if not info.filename.endswith(".npy"):
            hint = "save it with numpy.savez"
            raise SamplesError(name, "arrays in .npy format", f"{info.filename!r}", hint)
        key = info.filename.removesuffix(".npy")
        with archive.open(info) as member:
            arrays[key] = _array(f"{name}, array {key!r}", member, info.file_size, max_bytes)
    return arrays


def _array(name: str, file: Any, size: int, max_bytes: int) -> _Any:
    """The array in an open file of `size` bytes, in NumPy's format."""
    shape, fortran, dtype, start = _header(name, file)
    if dtype.hasobject:
        hint = "convert it to numbers or texts, and save it again: x.astype(float), y.astype(str)"
        raise SamplesError(name, "numbers or texts", "Python objects, which need pickle", hint)
    if dtype.kind not in "biufUS" or dtype.itemsize == 0:
        raise SamplesError(name, "numbers or texts", f"{dtype}", "save numbers: x.astype(float)")
    declared = math.prod(shape) * dtype.itemsize
    if declared > max_bytes:
        got = f"shape {shape} of {dtype}"
        raise SamplesError(name, f"at most {max_bytes} bytes", got, "split the file")
    if declared != size - start:
        expected = f"{declared} bytes for shape {shape} of {dtype}"
        raise SamplesError(name, expected, f"{size - start}", _AGAIN)
    content = bytearray()
    while chunk := file.read(min(_CHUNK, declared + 1 - len(content))):
        content += chunk
    if len(content) != declared:
        expected = f"{declared} bytes for shape {shape} of {dtype}"
        raise SamplesError(name, expected, f"{len(content)}", _AGAIN)
    array = np.ndarray(shape, dtype, buffer=content, order="F" if fortran else "C")
    if dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError:
            got = "bytes that are no texts"
            raise SamplesError(
                name, "texts in UTF-8", got, "save them with y.astype(str)"
            ) from None
    return np.ascontiguousarray(array, dtype.newbyteorder("="))


def _header(name: str, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order and dtype that an array's header declares, and where the elements begin."""
    head = file.read(8)
    got = f"the bytes {head[:6].hex(' ')}" if head else "an empty file"
    if head[:6] != b"\x93NUMPY" or len(head) < 8:
        raise SamplesError(name, "an array in .npy format", got, "save it with numpy.save")
    version = head[6], head[7]
    readers = {(1, 0): (2, np.lib.format.read_array_header_1_0),
               (2, 0): (4, np.lib.format.read_array_header_2_0)}  # fmt: skip
    if version not in readers:
        got = f"version {version[0]}.{version[1]}"
        raise SamplesError(name, "version 1.0 or 2.0 of the format", got, "save it with numpy.save")
    wide, read = readers[version]
    length = file.read(wide)
    text = file.read(min(int.from_bytes(length, "little"), 10_000))
    try:
        shape, fortran, dtype = read(io.BytesIO(length + text))
        if any(n < 0 for n in shape) or len(shape) > 32:
            raise ValueError(f"shape {shape}")
    except Exception as error:  # the header is a Python literal, which can fail in many ways
        said = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise SamplesError(name, "a header with shape and dtype", said, _AGAIN) from None
    return shape, fortran, dtype, 8 + wide + len(text)
