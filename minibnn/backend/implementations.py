"""Tables of fast implementations, by the name of the operation.

The reference implementation of an operation is plain array code, in the file of the layer, loss or
optimiser that uses it. `Backend.run` looks its name up in the device's tables, in this order: on
the CPU `COMPILED`, then `NUMPY`; on the GPU `CUDA`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Implementations:
    """The fast implementations for one kind of device, by the operation's name.

    >>> table = Implementations()
    >>> @table.implements("double")
    ... def double(backend, x):
    ...     return x + x
    >>> table["double"] is double
    True
    """

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        self._roundings: dict[str, int] = {}

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._functions[name]

    def names(self) -> set[str]:
        """The names of its operations."""
        return set(self._functions)

    def roundings(self, name: str) -> int:
        """How far an implementation may be from its reference; see `implements`."""
        return self._roundings[name]

    def implements(self, name: str, *, roundings: int = 0) -> Callable[[Function], Function]:
        """Register a function as the implementation of an operation.

        The function takes the backend, then the reference's arguments, by position. It returns what
        the reference returns. If it cannot take the arguments, it returns NotImplemented before it
        writes anything; then `Backend.run` tries the device's next table, and finally the
        reference.

        Args:
            name: the reference's name.
            roundings: how far the results may be from what the reference would give without any
                rounding. The unit is eps, the gap between 1 and the next float (2^-23 for float32),
                times the sum of the absolute values of the terms that are added. 0 means equal bit
                for bit, for finite arguments and results. The tests use this number.

        Raises:
            ValueError: if the table already has this name.
        """

        def enter(function: Function) -> Function:
            if name in self._functions:
                raise ValueError(f"implements: expected one implementation of {name!r}, got two")
            self._functions[name] = function
            self._roundings[name] = roundings
            return function

        return enter


def is_ours(function: Callable[..., Any]) -> bool:
    """Whether a function is minibnn's own, not a user's."""
    return function.__module__.startswith("minibnn.")


NUMPY, COMPILED, CUDA = Implementations(), Implementations(), Implementations()
