"""Numbers and labels of any dtype, as the dtypes that networks take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibnn.data.errors import SamplesError

__all__ = ["as_numbers", "class_numbers", "narrow", "place", "refuse_missing"]

_Any = np.ndarray[Any, Any]
_EXACT = 2**24  # float32 holds all whole numbers up to here
MOST_CLASSES = 10_000


def place(index: tuple[int, ...], names: Sequence[str] | None) -> str:
    """Where an element is, in words: rows are counted from 1, other axes from 0."""
    where = f"row {index[0] + 1}"
    if len(index) == 1:
        return where
    if names is not None:
        column = f"column {names[index[-1]]!r}"
        return ", ".join([where, *(f"{i}" for i in index[1:-1]), column])
    if len(index) == 2:
        return f"{where}, column {index[1] + 1}"
    return f"sample {index[0] + 1}, {list(index[1:])}"


def narrow(who: str, x: _Any, names: Sequence[str] | None) -> _Any:
    """Return x as uint8, int8, int16 or float32, which hold its values; contiguous.

    Raises:
        SamplesError: for texts, infinite numbers, and numbers that none of them holds.
    """
    kind = x.dtype.kind
    if kind == "b":
        return np.ascontiguousarray(x, np.uint8)
    if kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            y = np.ascontiguousarray(x, np.float32)
        wrong = np.isinf(y)
        if wrong.any():
            at = _first(wrong)
            expected = "numbers that float32 holds"
            hint = "correct the number, or leave the column out"
            raise SamplesError(who, f"{expected} at {place(at, names)}", f"{x[at]}", hint)
        return y
    if kind not in "iu":
        got = (
            f"{x.dtype} at {place((0,) * x.ndim, names)}: {x.flat[0]!r}" if x.size else f"{x.dtype}"
        )
        raise SamplesError(who, "numbers in x", got, "convert them to numbers")
    if x.dtype.itemsize == 1 or x.dtype.newbyteorder("=") == np.int16:
        return np.ascontiguousarray(x, x.dtype.newbyteorder("="))
    least, most = (int(x.min()), int(x.max())) if x.size else (0, 0)
    if x.ndim > 2 and least >= 0 and most <= 255:
        return np.ascontiguousarray(x, np.uint8)
    if least >= -(2**15) and most < 2**15:
        return np.ascontiguousarray(x, np.int16)
    if least < -_EXACT or most > _EXACT:
        at = _first((x < -_EXACT) | (x > _EXACT))
        expected = f"whole numbers up to {_EXACT}, which float32 holds, at {place(at, names)}"
        hint = "subtract an offset, divide, or leave the column out"
        raise SamplesError(who, expected, f"{x[at]}", hint)
    return np.ascontiguousarray(x, np.float32)


def refuse_missing(who: str, x: _Any, names: Sequence[str] | None) -> None:
    """Raise SamplesError if x has nan, with the first place and the count."""
    if x.dtype.kind != "f":
        return
    wrong = np.isnan(x)
    if wrong.any():
        count = f"a missing value (one of {wrong.sum()})"
        expected = f"a number at {place(_first(wrong), names)}"
        hint = 'missing="keep" codes them as below all thresholds, missing="drop" drops the rows'
        raise SamplesError(who, expected, count, hint)


def class_numbers(
    who: str, y: _Any, class_names: Sequence[str] | None
) -> tuple[_Any, tuple[str, ...]]:
    """The number of each class, and the names of the classes; by default the values, sorted.

    Shapes: y (n,); result (n,) int64.

    Raises:
        SamplesError: for another shape, missing classes, and what names no classes.
    """
    if y.ndim != 1:
        hint = "y.argmax(1) makes class numbers of one-hot rows"
        raise SamplesError(who, "classes of shape (n,)", f"{y.shape}", hint)
    if y.dtype.kind == "f":
        wrong = ~np.isfinite(y) | (y != np.floor(y)) | (np.abs(y) > 2**53)
        if wrong.any():
            at = _first(wrong)
            missing = "a missing value" if np.isnan(y[at]) else f"{y[at]}"
            hint = 'missing="drop" drops such rows; classes=False takes y as numbers'
            raise SamplesError(who, f"a class in {place(at, None)}", missing, hint)
        y = y.astype(np.int64)
    if y.dtype.kind not in "iubU":
        raise SamplesError(who, "classes: texts or whole numbers", f"{y.dtype}", "y.astype(str)")
    if y.dtype.kind == "U" and (y == "").any():
        at = _first(y == "")
        hint = 'missing="drop" drops such rows'
        raise SamplesError(who, f"a class in {place(at, None)}", "a missing value", hint)
    values, numbers = np.unique(y, return_inverse=True)
    if class_names is not None:
        if y.dtype.kind == "U":
            raise SamplesError(
                who, "class numbers beside class_names", "texts", "leave out class_names"
            )
        wrong = (y < 0) | (y >= len(class_names))
        if wrong.any():
            at = _first(wrong)
            expected = f"a class number below {len(class_names)} in {place(at, None)}"
            raise SamplesError(who, expected, f"{y[at]}", "name all classes in class_names")
        return y.astype(np.int64), tuple(map(str, class_names))
    if len(values) > MOST_CLASSES:
        expected, got = f"at most {MOST_CLASSES} classes", f"{len(values)}"
        raise SamplesError(who, expected, got, "classes=False takes y as numbers")
    return numbers.astype(np.int64).reshape(-1), tuple(map(str, values.tolist()))


def as_numbers(who: str, y: _Any) -> _Any:
    """Return y as float32, (n,) or (n, k).

    Raises:
        SamplesError: for texts, missing and infinite numbers, and other shapes.
    """
    if y.ndim > 2 or y.dtype.kind not in "iubf":
        got = f"{y.shape} {y.dtype}"
        hint = "classes=True takes y as classes" if y.ndim == 1 else "one row for each sample"
        raise SamplesError(who, "numbers in y of shape (n,) or (n, k)", got, hint)
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.ascontiguousarray(y, np.float32)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        at = _first(wrong)
        got = "a missing value" if np.isnan(numbers[at]) else f"{y[at]}"
        hint = 'missing="drop" drops such rows'
        raise SamplesError(
            who, f"a finite number to be predicted in {place(at[:1], None)}", got, hint
        )
    return numbers


def _first(wrong: _Any) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
