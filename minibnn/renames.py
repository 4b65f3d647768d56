"""Old names that still work for some versions, with a warning that gives the new name."""

from __future__ import annotations

import importlib
import warnings
from typing import Any


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


def moved(name: str, module: str, *, gone_in: str) -> Any:
    """The old method of a function that now takes the object as its first argument.

    The function is wrapped: it calls an object's own method first. The old method calls the
    wrapped function, since the wrapper would call the method again.

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
