"""What an exercise's function gave: calling it, comparing, and telling the difference in words."""

from __future__ import annotations

import copy
import errno
import inspect
import linecache
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SHOWN = 24  # arrays of up to this many elements are shown whole
SMALL = 8  # arguments of up to this many elements are shown whole
LINE = 60  # characters of a call that stands on one line
LINES, LONG = 16, 300  # lines of a message, and characters of a line, that are shown
FRAMES = 3  # lines of the learner's code that are shown below an error


@dataclass(frozen=True)
class Raised:
    """An exception in the place of a value; two are equal if they say the same."""

    error: str
    where: tuple[str, ...] = field(compare=False, default=())

    def __str__(self) -> str:
        return "\n".join([self.error, *(f"  {line}" for line in self.where)])


@dataclass(frozen=True)
class Verdict:
    """Whether a learner's test passes; two are equal if both pass, or neither does."""

    passes: bool
    why: str = field(compare=False, default="")


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, or a `Raised`."""
    try:
        with np.errstate(all="warn", under="ignore"):
            return function(*arguments)
    except (Exception, SystemExit) as error:
        return raised(error, filename_of(function))


def raised(error: BaseException, filename: str) -> Raised:
    """An exception, with the lines of this file alone that it came through."""
    if isinstance(error, SystemExit):
        text = "SystemExit: the code asks Python to end (exit, quit or sys.exit)"
    elif isinstance(error, MemoryError):
        text = "MemoryError: the code asks for more memory than an exercise may use"
    elif isinstance(error, OSError) and error.errno == errno.EFBIG:
        text = "OSError: the code prints or writes more than an exercise may"
    else:
        shown = traceback.TracebackException.from_exception(error, limit=-FRAMES)
        text = shortened("".join(shown.format_exception_only()).strip())
    lines = [
        f"line {frame.lineno}, in {frame.name}: "
        f"{shortened(linecache.getline(filename, frame.lineno or 0).strip())}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == filename
    ]
    return Raised(text, tuple(dict.fromkeys(lines[-FRAMES:])))  # a recursion has equal lines


def shortened(text: str) -> str:
    """The text, or its beginning: a few lines, none of them very long."""
    lines = text.splitlines()
    more = ["..."] * (len(lines) > LINES)
    cut = [line if len(line) <= LONG else f"{line[:LONG]} ..." for line in lines[:LINES]]
    return "\n".join(cut + more)


def filename_of(function: Any) -> str:
    """The file, or the cell of a notebook, that a function or class was written in."""
    function = inspect.unwrap(function)
    for code in (function, *getattr(function, "__dict__", {}).values()):  # a class: its methods
        if hasattr(code, "__code__"):
            return str(code.__code__.co_filename)
    return ""


def names_of_arguments(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the first `count` arguments."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    return [*names, *(f"argument {i + 1}" for i in range(len(names), count))][:count]


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as text: ``logistic(z=0.5)``; small arrays below it, and of large ones the shape.

    >>> call_text("forward", {"x": np.zeros((4, 3)), "b": 0.5})
    'forward(x of shape (4, 3), b=0.5)'
    """
    large = any(np.size(v) > SMALL for v in arguments.values() if isinstance(v, np.ndarray))
    texts = {argument: short(value) for argument, value in arguments.items()}
    parts = [
        f"{argument} of {shape_text(value)}"
        if large and isinstance(value, np.ndarray) and value.ndim
        else f"{argument}={texts[argument]}"
        for argument, value in arguments.items()
    ]
    line = f"{name}({', '.join(parts)})"
    if large or ("\n" not in line and len(line) <= LINE):
        return line
    return f"{name}({', '.join(texts)})\n{table(texts)}"


def short(value: Any) -> str:
    """A value on one line or a few, with a few digits.

    >>> print(short(np.array([0.5, -1.0])), short(np.float64(1) / 3))
    [0.5, -1] 0.333333
    """
    try:
        return _short(value)
    except Exception:  # of the learner's class: its __repr__, for instance
        return f"an object of class {type(value).__name__} that cannot be shown"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return _short_array(value)
    if isinstance(value, float | np.floating):
        return f"{float(value) + 0.0:.6g}"  # 0, not -0
    if isinstance(value, np.generic):
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(short, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list):
        return f"[{', '.join(map(short, value))}]"
    if isinstance(value, Raised):
        return value.error
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    text = repr(value)
    return text if len(text) <= LINE else f"{text[: LINE - 3]}..."


def _short_array(array: np.ndarray[Any, Any]) -> str:
    if array.ndim == 0:
        return short(array[()])
    if array.size > SHOWN or array.dtype.kind not in "biuf":
        return f"array of {shape_text(array)}"
    texts = [f"{v + 0:.4g}" if array.dtype.kind == "f" else f"{v}" for v in array.ravel().tolist()]
    if array.ndim == 1:
        return f"[{', '.join(texts)}]"
    width = max(map(len, texts), default=0)
    rows = np.array([text.rjust(width) for text in texts], dtype=object).reshape(array.shape)
    return str(np.array2string(rows, separator=", ", formatter={"object": str}))


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two values are equal, numbers up to a relative tolerance."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], tolerance) for k in a)
    u, v = as_numbers(a), as_numbers(b)
    if u is not None and v is not None:
        return u.shape == v.shape and bool(
            np.allclose(u, v, rtol=tolerance, atol=tolerance * 1e-2, equal_nan=True)
        )
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(same(u, v, tolerance) for u, v in zip(a, b, strict=True))
    if u is not None or v is not None or type(a) is not type(b):
        return False
    try:
        return bool(a == b)
    except Exception:  # objects with arrays in them, or with an __eq__ that fails
        return False


def as_numbers(value: Any) -> np.ndarray[Any, Any] | None:
    """The value as an array of numbers; None if it is none."""
    if not isinstance(value, np.ndarray | np.generic | float | int | list):
        return None
    try:
        array = np.asarray(value)
        if isinstance(value, int) and array.dtype.kind == "O":  # too large for 64 bits
            array = np.asarray(float(value))
    except Exception:  # rows of different lengths, no float either, or a class of the learner's
        return None
    return array if array.dtype.kind in "biufc" else None


def difference(label: str, right: Any, got: Any, tolerance: float) -> str:
    """What is wrong with one value, in words."""
    if isinstance(got, Raised):
        return f"{label}\n{got}"
    if got is None:
        return f"{label}\nreturns None: is a `return` missing?"
    if got is Ellipsis:
        return f"{label}\nreturns `...`: this hole is not filled yet."
    u, v = as_numbers(right), as_numbers(got)
    if u is None or v is None:
        if isinstance(right, str) and isinstance(got, str):  # lists as texts: without quotes
            texts = {"expected": right, "got": shortened(got) or "nothing"}
            return f"{label}\n{table(texts)}"
        if isinstance(right, tuple) and isinstance(got, tuple | list) and len(got) == len(right):
            return _difference_of_tuples(label, right, tuple(got), tolerance)
        if isinstance(right, tuple):
            wanted = f"a tuple of {len(right)} values"
            given = kind(got)
            if isinstance(got, tuple | list):
                given = "one value" if len(got) == 1 else f"{len(got)} values"
            return f"{label}\nexpected {wanted}, got {given}."
        return f"{label}\nexpected {short(right) if u is None else kind(right)}, got {kind(got)}."
    if u.shape != v.shape:
        return f"{label}\nexpected {shape_text(u)}, got {shape_text(v)}."
    if u.size > SHOWN:
        with np.errstate(all="ignore"):
            far = ~np.isclose(v, u, rtol=tolerance, atol=tolerance * 1e-2, equal_nan=True)
        at = tuple(int(i) for i in np.unravel_index(int(np.argmax(far)), u.shape))
        where = f"{far.sum()} of {u.size} numbers differ, the first of them at {list(at)}:"
        return f"{label}\n{where}\n{expected_and_got(u[at], v[at])}"
    return f"{label}\n{expected_and_got(u, v)}"


def _difference_of_tuples(
    label: str, right: tuple[Any, ...], got: tuple[Any, ...], tolerance: float
) -> str:
    """Both tuples if they hold single values; else what is wrong with the first that differs."""
    nested = any(isinstance(value, np.ndarray | list | tuple) for value in (*right, *got))
    if not nested and short(right) != short(got):
        return f"{label}\n{table({'expected': short(right), 'got': short(got)})}"
    at = next(
        i for i, (u, v) in enumerate(zip(right, got, strict=True)) if not same(u, v, tolerance)
    )
    return difference(f"{label}, value {at + 1} of {len(right)}", right[at], got[at], tolerance)


def expected_and_got(right: Any, got: Any) -> str:
    """Both values below each other."""
    text = table({"expected": short(right), "got": short(got)})
    if short(right) != short(got):
        return text
    with np.errstate(all="ignore"):
        return f"{text}\n  (They differ by up to {np.abs(np.subtract(got, right)).max():.1e}.)"


def table(texts: Mapping[str, str]) -> str:
    """Names and values below each other."""
    lines = []
    for name, text in texts.items():
        first, *others = text.splitlines()
        lines += [f"  {name:<9} {first}", *(f"  {'':<9} {line}" for line in others)]
    return "\n".join(lines)


def kind(value: Any) -> str:
    """What sort of a value it is."""
    numbers = as_numbers(value)
    if numbers is not None:
        return "a number" if numbers.ndim == 0 else f"an array of shape {numbers.shape}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} values"
    return short(value)


def shape_text(array: np.ndarray[Any, Any]) -> str:
    """``a number``, or ``shape (3, 2)``."""
    return "a single number" if array.ndim == 0 else f"shape {array.shape}"


def likeness(right: Mapping[str, Any], got: Mapping[str, Any], tolerance: float) -> str:
    """How wrong numbers relate to the right ones, if there is a simple relation, or ``""``."""
    pairs = [(as_numbers(right[k]), as_numbers(got.get(k))) for k in right]
    if any(u is None or v is None for u, v in pairs):
        return ""
    us = [u for u, _ in pairs if u is not None]
    vs = [v for _, v in pairs if v is not None]

    def all_same(change: Callable[[Any], Any]) -> bool:
        return all(same(change(u), v, tolerance) for u, v in zip(us, vs, strict=True))

    if all_same(np.transpose):
        return "It is the transpose of the right answer."
    if any(u.shape != v.shape for u, v in zip(us, vs, strict=True)):
        return ""
    if all(u.dtype.kind == "b" for u in us):
        return ""  # True and False are no numbers to a learner
    u = np.concatenate([np.ravel(u) for u in us]).astype(float)
    v = np.concatenate([np.ravel(v) for v in vs]).astype(float)
    if len(u) < 3 or not np.isfinite(u).all() or not np.isfinite(v).all() or not u.any():
        return ""
    if np.abs(v).max() <= 1e-6 * np.abs(u).max():
        return f"Every number is {'nearly ' * bool(v.any())}0."
    factor = float(u @ v / (u @ u))
    if np.allclose(v, -u, rtol=1e-6, atol=1e-9):
        return "Every number has the wrong sign."
    if np.allclose(v, factor * u, rtol=1e-6, atol=1e-9):
        return f"Every number is {factor:.4g} times the right one."
    if np.allclose(v - u, (v - u)[0], rtol=1e-6, atol=1e-9):
        return f"Every number is too {'large' if v[0] > u[0] else 'small'} by {abs(v - u)[0]:.4g}."
    return ""


def copies(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments, so that a function which changes them changes copies."""
    return copy.deepcopy(arguments)
