"""The state of what training is made of: named arrays and numbers, taken out and put back.

Models, functions, losses, optimisers, random streams and loaders have two methods:

- ``state()`` returns a dict of everything that training changes in the object, by name: host
  arrays (copies), numbers, texts, None, and such dicts for the object's parts.
- ``restore(state)`` puts it back into an object that was made in the same way, and raises before it
  changes anything if the names, shapes or dtypes differ.

A class of your own that keeps something else extends both:

.. code-block:: python

    def state(self):
        return {**super().state(), "calls": self.calls}

    def restore(self, state):
        super().restore(state)
        self.calls = state["calls"]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "State", "Stateful", "form_difference", "form_of", "has_own_state", "has_state", "parts_of",
    "require_form",
]  # fmt: skip

State: TypeAlias = dict[str, Any]


class Stateful:
    """An object with `state` and `restore`; its attributes that are such objects are its parts.

    A class of your own with a `state` needs a `restore`, too.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ours = __name__.partition(".")[0]
        if (
            "state" in vars(cls)
            and cls.restore.__module__.partition(".")[0]
            == ours
            != (cls.__module__.partition(".")[0])
        ):
            raise TypeError(
                f"{cls.__name__}: expected restore(state) beside state(), got state() alone; write "
                "restore, which puts back what state adds"
            )

    def state(self) -> State:
        """What training changes in it, by name, without parts that never change."""
        states = {name: part.state() for name, part in parts_of(self, Stateful)}
        return {name: state for name, state in states.items() if state}

    def restore(self, state: State) -> None:
        """Put a state back.

        Raises:
            ValueError: before anything changes, if `state` is of another kind of object.
        """
        require_form(repr(self), self.state(), state)
        for name, part in parts_of(self, Stateful):
            if name in state:
                part.restore(state[name])


def has_state(thing: object) -> bool:
    """Whether an object, such as a schedule, has both methods."""
    return all(callable(getattr(thing, name, None)) for name in ("state", "restore"))


def has_own_state(value: object) -> bool:
    """Whether a class of a user's defines `state`."""
    for base in type(value).__mro__:
        if "state" in vars(base):
            return not base.__module__.startswith("minibnn.")
    return False


def parts_of(owner: object, kind: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of this class, with their names without leading underscores.

    Raises:
        TypeError: for two parts of one name, such as ``m`` and ``_m``.
    """
    found: dict[str, Any] = {}
    for attribute, value in vars(owner).items():
        if not isinstance(value, kind):
            continue
        name = attribute.lstrip("_")
        if found.setdefault(name, value) is not value:
            raise TypeError(
                f"{type(owner).__name__}: expected a name of its own for each part, got two named "
                f"{name!r} without leading underscores; rename one of them"
            )
    yield from found.items()


def require_form(who: str, own: Any, given: Any) -> None:
    """Raise ValueError unless `given` has the names, shapes and dtypes of the state `own`.

    None stands for an array that has not been drawn yet, and fits anything.

    >>> require_form("Adam", {"steps": 0, "m": np.zeros(2)}, {"steps": 7, "m": np.zeros(3)})
    Traceback (most recent call last):
    ...
    ValueError: Adam: expected a state with m as float64 (2,), got float64 (3,); restore it into \
the object that it was taken from, or into one made in the same way
    """
    difference = form_difference(own, given)
    if difference is not None:
        name, expected, got = difference
        raise ValueError(
            f"{who}: expected a state with {name} as {expected}, got {got}; restore it into the "
            "object that it was taken from, or into one made in the same way"
        )


def form_difference(own: Any, given: Any, path: str = "") -> tuple[str, str, str] | None:
    """The first difference in form: where, what was expected, what was given."""
    if path and (own is None or given is None):
        return None
    if isinstance(own, dict) and isinstance(given, dict):
        for key in {**own, **given}:
            here = f"{path}.{key}" if path else str(key)
            if key not in given or key not in own:
                expected, got = (_form(s[key]) if key in s else "nothing" for s in (own, given))
                return here, expected, got
            if (found := form_difference(own[key], given[key], here)) is not None:
                return found
        return None
    expected, got = _form(own), _form(given)
    return None if expected == got else (path or "names", expected, got)


def form_of(state: Any) -> Any:
    """A state of the same form for `form_difference`, whose arrays take no memory."""
    if isinstance(state, dict):
        return {key: form_of(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        return np.broadcast_to(np.zeros((), state.dtype), state.shape)
    return state


def _form(value: Any) -> str:
    if isinstance(value, np.ndarray):  # a file gives the machine's own byte order
        return f"{value.dtype.newbyteorder('=')} {value.shape}"
    # A file gives NumPy's numbers back as Python's, and tuples as lists.
    if isinstance(value, int | float | np.bool_ | np.number):
        return "a number"
    if isinstance(value, list | tuple):
        return "a list"
    return "named parts" if isinstance(value, dict) else "a text"
