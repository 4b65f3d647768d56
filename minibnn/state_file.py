"""A nested state as named arrays and one JSON text, for a file; and back.

.. code-block:: text

    {"model": {"0": {"weight": array}}, "rate": nan}

    arrays   {"model/0/weight": array}
    text     {"model":{"0":{"weight":{"$":"array"}}},"rate":{"$":"nan"}}

An array's name is its path. In a path, ``~1`` stands for a slash inside a key and ``~0`` for ``~``.
What JSON does not have is an object with the one key ``$``; keys that begin with ``$`` get another
``$`` in front.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeAlias

import numpy as np

from minibnn.container import DTYPES

__all__ = ["Plain", "flatten", "from_json", "to_json", "unflatten"]

HostArray: TypeAlias = np.ndarray[Any, Any]
Plain: TypeAlias = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None

_DEEPEST = 100  # levels of dicts and lists
_LARGEST = 2**256  # of integers; the state of NumPy's generators has 128 bits
_MOST_AXES = 8  # as `container.read` allows
_TAG = "$"
_ARRAY = "array"
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_DTYPES = {dtype.newbyteorder("=") for dtype in DTYPES.values()}


def flatten(state: Any) -> tuple[dict[str, HostArray], Plain]:
    """The arrays of a state by path, and the rest as JSON has it.

    Tuples become lists, and NumPy's numbers Python's. Floats keep all of their bits, except for
    those of a nan.

    Raises:
        TypeError: for anything but dicts with texts as keys, lists, tuples, arrays on the host,
            texts, numbers, bools and None; the message has its path.

    >>> arrays, rest = flatten({"model": {"weight": np.zeros(2)}, "best": math.inf})
    >>> list(arrays), to_json(rest)
    (['model/weight'], '{"model":{"weight":{"$":"array"}},"best":{"$":"inf"}}')
    >>> unflatten(arrays, rest)
    {'model': {'weight': array([0., 0.])}, 'best': inf}
    """
    arrays: dict[str, HostArray] = {}
    return arrays, _flatten(state, (), arrays)


def _flatten(value: Any, path: tuple[str, ...], arrays: dict[str, HostArray]) -> Plain:
    if len(path) > _DEEPEST:
        raise _refusal(path[:3], f"at most {_DEEPEST} levels", "more", "does it contain itself?")
    if isinstance(value, np.ndarray):
        if value.dtype.newbyteorder("=") not in _DTYPES:
            expected = "an array of integers, bools, float32 or float64"
            raise _refusal(path, expected, str(value.dtype), "convert it with astype")
        if value.ndim > _MOST_AXES:
            raise _refusal(path, f"at most {_MOST_AXES} axes", f"{value.ndim}", "reshape it")
        arrays[_name(path)] = value
        return {_TAG: _ARRAY}
    if type(value) in (list, tuple):
        return [_flatten(v, (*path, str(i)), arrays) for i, v in enumerate(value)]
    if type(value) is dict:
        return {_escaped(key, path): _flatten(v, (*path, key), arrays) for key, v in value.items()}
    if isinstance(value, np.bool_ | np.integer | np.float32 | np.float64):
        value = value.item()
    if type(value) is float:
        return value if math.isfinite(value) else {_TAG: repr(value)}
    if value is None or isinstance(value, bool) or type(value) is str:
        return value
    if type(value) is int:
        if abs(value) >= _LARGEST:
            raise _refusal(
                path, "an integer of at most 256 bits", "a larger one", "keep it as text"
            )
        return value
    hint = "keep what it is made of: numbers, texts and arrays"
    if hasattr(value, "dtype") and hasattr(value, "shape") and not np.isscalar(value):
        hint = "bring it to the host with backend_of(array).to_host(array)"
    elif isinstance(value, np.floating | float | int | str):
        hint = "convert it with float(...), int(...) or str(...)"
    elif isinstance(value, dict | list | tuple | set | frozenset):
        hint = "convert it with dict(...) or list(...)"
    raise _refusal(
        path, "an array on the host, a number, a text, None, or a dict or list of them",
        f"one of type {type(value).__name__}", hint,
    )  # fmt: skip


def _name(path: tuple[str, ...]) -> str:
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def _escaped(key: Any, path: tuple[str, ...]) -> str:
    if type(key) is not str:
        raise _refusal(path, "texts as keys", repr(key), "convert the key with str(...)")
    return _TAG + key if key.startswith(_TAG) else key


def _refusal(path: tuple[str, ...], expected: str, got: str, hint: str) -> TypeError:
    where = "/".join(path)
    return TypeError(f"state {where!r}: expected {expected}, got {got}; {hint}")


def unflatten(arrays: dict[str, HostArray], rest: Plain) -> Any:
    """The state that `flatten` was given, with lists for tuples.

    Raises:
        ValueError: if the two do not belong together.
    """
    left = dict(arrays)
    state = _unflatten(rest, (), left)
    if left:
        raise ValueError(f"expected no array but the state's, got {sorted(left)[0]!r}")
    return state


def _unflatten(rest: Any, path: tuple[str, ...], arrays: dict[str, HostArray]) -> Any:
    if len(path) > _DEEPEST:
        raise ValueError(f"expected at most {_DEEPEST} levels, got more")
    if type(rest) is list:
        return [_unflatten(v, (*path, str(i)), arrays) for i, v in enumerate(rest)]
    if type(rest) is not dict:
        return rest
    if _TAG not in rest:
        return {
            key: _unflatten(v, (*path, key), arrays)
            for key, v in ((_key(k), v) for k, v in rest.items())
        }
    what = rest[_TAG]
    if len(rest) == 1 and type(what) is str and what in _FLOATS:
        return _FLOATS[what]
    name = _name(path)
    if rest != {_TAG: _ARRAY} or name not in arrays:
        raise ValueError(f"expected an array {name!r}, got none")
    return arrays.pop(name)


def _key(escaped: str) -> str:
    if escaped.startswith(_TAG) and not escaped.startswith(2 * _TAG):
        raise ValueError(f"expected a key without or with two {_TAG}, got {escaped!r}")
    return escaped.removeprefix(_TAG)


def to_json(value: Plain) -> str:
    """JSON without spaces, with the keys in their order: equal values of one order, equal texts.

    Raises:
        ValueError: for nan and infinity, which JSON does not have; `flatten` replaces them.
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> Plain:
    """The value that `to_json` was given.

    Raises:
        ValueError: for any other text, another form of the same JSON included.
    """
    try:
        value: Plain = json.loads(text)
        same = to_json(value) == text
    except RecursionError:
        raise ValueError("expected JSON of fewer levels, got too many") from None
    if not same:
        raise ValueError("expected JSON in the form of to_json, got another form of it")
    return value
