"""Checks of arguments: classes, bools, integers, numbers, shapes, dtypes, generators.

Each check returns the value in its plain form (a Python int for a NumPy one, for instance), so
that a repr, a JSON text or a file does not depend on where a number came from. Errors name the
caller, what was expected and what was given, and add a hint.
"""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any, TypeVar

import numpy as np

_Kind = TypeVar("_Kind")


def require(who: str, name: str, value: Any, kind: type[_Kind]) -> _Kind:
    """Return `value`, or raise TypeError unless it is an object of class `kind`."""
    if not isinstance(value, kind):
        got, hint = repr(value), ""
        if isinstance(value, type):
            got = f"the class {value.__name__}"
            hint = write_hint(value) if issubclass(value, kind) else ""
        elif kind.__name__ == "Function" and (isinstance(value, str) or callable(value)):
            hint = "; write an object such as SignSTE(), or a Function of your own"
        elif kind.__name__ == "Loss":
            hint = "; write an object such as LogitCrossEntropy()"
        elif kind.__name__ == "Optimizer":
            hint = "; write an object such as Adam(model.parameters())"
        raise TypeError(f"{who}: expected {name} of type {kind.__name__}, got {got}{hint}")
    return value


def require_methods(owner: object, *names: str) -> None:
    """Raise TypeError if an attribute hides a method, which could then no longer be called."""
    for name in names:
        value = vars(owner).get(name, require_methods)
        if not callable(value):
            raise TypeError(
                f"{type(owner).__name__}: expected {name} to be a method, got an attribute of type "
                f"{type(value).__name__}; give it another name"
            )


def write_hint(cls: type, call: str = "{}") -> str:
    """A hint to make an object of the class instead of passing it; empty for an abstract class.

    Args:
        cls: the class.
        call: the expression around the object, with ``{}`` for the object.

    >>> from minibnn import Dense
    >>> write_hint(Dense)
    '; write Dense(in_features, out_features)'
    """
    import inspect  # slow to import, and needed for errors only

    if inspect.isabstract(cls):
        return ""
    parameters = inspect.signature(cls).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    made = f"{cls.__name__}({', '.join(needed)})"
    return f"; write {call.format(made)}"


def integer(who: str, name: str, value: Any, *, least: int | None = None) -> int:
    """Return `value` as a Python int: anything with ``__index__`` except bools.

    Raises:
        TypeError: for everything else, including floats that are whole numbers.
        ValueError: for a number below `least`.
    """
    try:
        if _is_bool(value):
            raise TypeError
        n = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{who}: expected {name} of type int, got {_got(value)}{_integer_hint(value)}"
        ) from None
    if least is not None and n < least:
        raise ValueError(f"{who}: expected {name} of at least {least}, got {n}")
    return n


def boolean(who: str, name: str, value: Any) -> bool:
    """Return `value` as a Python bool: a bool or NumPy's.

    Raises:
        TypeError: for everything else: the text "no" would otherwise mean yes.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{who}: expected {name}, True or False, got {_got(value)}")
    return bool(value)


def number(who: str, name: str, value: Any) -> float:
    """Return `value` as a Python number: any real number, or a 0-d NumPy array; no bool.

    The caller checks the range, including nan and infinity. A number on a device is refused,
    since reading it would make the program wait.

    Raises:
        TypeError: for everything else.
    """
    whole: int | None = value if type(value) is int else None
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, Real) or _is_bool(value):
        hint = "; float(...) makes one" if hasattr(value, "__float__") else ""
        if _is_bool(value) or isinstance(value, str):
            hint = f"; write {float(value)}" if _is_bool(value) else _quotes_hint(value, float)
        raise TypeError(f"{who}: expected {name} to be a number, got {_got(value)}{hint}")
    try:
        x = float(value)
    except OverflowError:
        raise ValueError(
            f"{who}: expected {name} to be a number that a float can hold, got {_got(value)}"
        ) from None
    return x if whole is None else whole


def finite(who: str, name: str, value: Any) -> float:
    """Return `value` as `number` does, or raise ValueError if it is nan or infinite."""
    x = number(who, name, value)
    if not math.isfinite(x):
        raise ValueError(f"{who}: expected {name} to be a finite number, got {x}")
    return x


def shape(who: str, name: str, value: Any, *, such_as: str = "(28, 28)") -> tuple[int, ...]:
    """Return `value`, a tuple or list of integers of at least 1, as a tuple of Python ints.

    Raises:
        TypeError: if it is not a tuple or list of integers (a single integer is not one).
        ValueError: for a size below 1.
    """
    if not isinstance(value, tuple | list):
        raise TypeError(
            f"{who}: expected a tuple of integers, got {_got(value)}; write {name} such as "
            f"{such_as}"
        )
    sizes = tuple(integer(who, f"the sizes in {name}", n) for n in value)
    if min(sizes, default=1) < 1:
        raise ValueError(f"{who}: expected sizes of at least 1 in {name}, got {sizes}")
    return sizes


def float_dtype(dtype: Any) -> np.dtype[Any]:
    """Return `dtype` as NumPy's, or raise TypeError unless it is float32 or float64."""
    known: np.dtype[Any] = np.dtype(dtype)
    if known not in (np.float32, np.float64):
        raise TypeError(f"expected dtype float32 or float64, got {known}")
    return known


def generator(who: str, rng: Any) -> np.random.Generator:
    """Return `rng` if it is a generator, or a new generator from it: from a seed, for instance.

    Raises:
        TypeError: for everything else, including None and bools.
        ValueError: for a negative seed.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, np.random.SeedSequence | np.random.BitGenerator):
        return np.random.default_rng(rng)
    try:
        if isinstance(rng, tuple | list):
            return np.random.default_rng([integer(who, "a seed", n, least=0) for n in rng])
        return np.random.default_rng(integer(who, "the seed", rng, least=0))
    except TypeError:
        raise TypeError(
            f"{who}: expected a numpy.random.Generator or a seed, got {_got(rng)}; "
            "pass np.random.default_rng(0), or 0"
        ) from None


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b"


def _integer_hint(value: Any) -> str:
    if _is_bool(value):
        return f"; write {int(value)}"
    if isinstance(value, str):
        return _quotes_hint(value, int)
    return "; int(...) makes one" if isinstance(value, Real) and math.isfinite(value) else ""


def _quotes_hint(text: str, kind: type) -> str:
    try:
        kind(text)
    except ValueError:
        return ""
    return "; write it without quotes"


def _got(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__} {text[:50]}..."
