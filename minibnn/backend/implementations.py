"""The tables of fast implementations: an operation's name, and who computes it on a kind of device.

An operation is a function of plain array code, its reference, in the file of the layer, loss or
optimiser that uses it. `Backend.run` looks its name up in the tables of the device, in their order:
on the CPU `COMPILED`, then `NUMPY`; on the GPU `CUDA`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Body = TypeVar("Body", bound=Callable[..., Any])


class Implementations:
    """What one kind of device computes in a way of its own, by the operation's name.

    >>> table = Implementations()
    >>> @table.implements("double")
    ... def double(backend, x):
    ...     return x + x
    >>> table["double"] is double
    True
    """

    def __init__(self) -> None:
        self._bodies: dict[str, Callable[..., Any]] = {}
        self._roundings: dict[str, int] = {}

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._bodies[name]

    def names(self) -> set[str]:
        """Of the operations that it has."""
        return set(self._bodies)

    def roundings(self, name: str) -> int:
        """How far the implementation may be from its reference; see `implements`."""
        return self._roundings[name]

    def implements(self, name: str, *, roundings: int = 0) -> Callable[[Body], Body]:
        """Enter a function as the implementation of an operation.

        It takes the backend, then what the reference takes, by position. It returns what the
        reference returns, or NotImplemented, before it has written anything, for arguments that it
        does not take: then the next table is asked, and at last the reference.

        Args:
            name: of the reference.
            roundings: how far the results may be from those of the reference in exact arithmetic,
                in units of the relative spacing of floats (2^-23 for float32) times the sum of the
                absolute values of the terms that are added up. 0: equal to the reference's, bit
                for bit, for finite arguments and results. The tests read it.

        Raises:
            ValueError: for a name that the table has already.
        """

        def enter(body: Body) -> Body:
            if name in self._bodies:
                raise ValueError(f"implements: expected one implementation of {name!r}, got two")
            self._bodies[name] = body
            self._roundings[name] = roundings
            return body

        return enter


def is_ours(function: Callable[..., Any]) -> bool:
    """Whether a function is minibnn's own, and not a user's."""
    return function.__module__.startswith("minibnn.")


NUMPY, COMPILED, CUDA = Implementations(), Implementations(), Implementations()
