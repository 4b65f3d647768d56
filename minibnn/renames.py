"""Old names that still work for some versions, with a warning that gives the new name."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def renamed(new: str, *, gone_in: str) -> Any:
    """The old name of an attribute: it reads and sets the new one, with a warning.

    Args:
        new: the new name of the attribute or method.
        gone_in: the version of minibnn that removes the old name.

    >>> class Finding:
    ...     hint = "try a smaller learning rate"
    ...     advice = renamed("hint", gone_in="0.9")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     Finding().advice
    'try a smaller learning rate'
    >>> print(caught[0].message)
    Finding.advice is now Finding.hint, and the old name goes in minibnn 0.9
    """
    return _Renamed(new, gone_in)


class _Renamed:
    def __init__(self, new: str, gone_in: str) -> None:
        self._new, self._gone_in = new, gone_in

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = name

    def __get__(self, instance: Any, owner: type) -> Any:
        self._warn(owner)
        return getattr(owner if instance is None else instance, self._new)

    def __set__(self, instance: Any, value: Any) -> None:
        self._warn(type(instance))
        setattr(instance, self._new, value)

    def _warn(self, owner: type) -> None:
        warnings.warn(
            f"{owner.__name__}.{self._old} is now {owner.__name__}.{self._new}, and the old name "
            f"goes in minibnn {self._gone_in}",
            DeprecationWarning,
            stacklevel=3,
        )


def renamed_argument(
    old: str, new: str, *, gone_in: str
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator for a function whose keyword argument has a new name; the old one warns.

    Args:
        old: the name that callers may still use.
        new: the argument's name of today.
        gone_in: the version of minibnn that no longer has the old name.

    >>> @renamed_argument("lr", "learning_rate", gone_in="0.9")
    ... def train(learning_rate):
    ...     return learning_rate
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     train(lr=0.5)
    0.5
    >>> print(caught[0].message)
    train(lr=...) is now train(learning_rate=...), and the old name goes in minibnn 0.9
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            if old in kwargs:
                name = function.__qualname__.removesuffix(".__init__")
                warnings.warn(
                    f"{name}({old}=...) is now {name}({new}=...), and the old name goes in "
                    f"minibnn {gone_in}",
                    DeprecationWarning,
                    stacklevel=2,
                )
                kwargs[new] = kwargs.pop(old)  # it wins: dataclasses.replace gives both
            return function(*args, **kwargs)

        return call

    return decorate


def moved(name: str, module: str, *, gone_in: str) -> Any:
    """The old method of a function that now takes the object as its first argument.

    The function is wrapped: it calls an object's own method first. The old method calls the
    function inside the wrapper; the wrapper itself would call the method again.

    Args:
        name: the name of the method and of the function.
        module: the module that defines the function.
        gone_in: the version of minibnn that removes the method.
    """

    def method(self: Any, *args: Any) -> Any:
        warnings.warn(
            f"{type(self).__name__}.{name} is now {module}.{name}(layer, ...), and the old name "
            f"goes in minibnn {gone_in}",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(module), name).__wrapped__(self, *args)

    return method
