"""The fields of a file's JSON objects and the arrays of its stages, taken with a check each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minibnn.packed.description import DEFAULTS
from minibnn.packed.stages import HostArray, Shape
from minibnn.windows import Windows

LIMIT = 2**28  # of each size; `costs` limits what they take together


class Fields:
    """A JSON object whose fields are taken one by one; each check raises ValueError."""

    def __init__(self, where: str, value: Any) -> None:
        self.where = where
        if type(value) is not dict:
            raise ValueError(f"{where}: expected an object")
        self.values = dict(value)

    def take(self, name: str) -> Any:
        """A field as it is."""
        if name not in self.values and name not in DEFAULTS:
            raise ValueError(f"{self.where}: expected a field {name!r}")
        return self.values.pop(name) if name in self.values else DEFAULTS[name]

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer from `low` to `high`."""
        return self._checked(name, self.take(name), low, high)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.take(name)
        if type(value) is not bool:
            raise ValueError(f"{self.where}: expected true or false as {name}")
        return value

    def integers(self, name: str, low: int, high: int = LIMIT) -> tuple[int, ...]:
        """Any number of integers from `low` to `high`."""
        return self._several(name, self.take(name), low, high)

    def shape(self, name: str) -> Shape:
        """One to eight sizes."""
        values = self.integers(name, 1)
        if not 1 <= len(values) <= 8 or math.prod(values) > LIMIT:
            raise ValueError(f"{self.where}: expected a shape of at most {LIMIT:,} values")
        return values

    def pair(self, name: str, low: int = 1) -> tuple[int, int]:
        """Two sizes, down and across."""
        first, second = self._two(name, self.integers(name, low))
        return first, second

    def pairs(self, name: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """Two pairs of sizes, which may be 0."""
        value = self.take(name)
        if type(value) not in (list, tuple):
            raise ValueError(f"{self.where}: expected pairs as {name}")
        first, second = (
            self._two(name, self._several(name, part, 0, LIMIT)) for part in self._two(name, value)
        )
        return (first[0], first[1]), (second[0], second[1])

    def names(self, name: str) -> tuple[str, ...] | None:
        """Texts, or None without the field."""
        value = self.values.pop(name, None)
        if value is None:
            return None
        if type(value) is not list or not all(type(v) is str for v in value):
            raise ValueError(f"{self.where}: expected texts as {name}")
        return tuple(value)

    def end(self) -> None:
        """No field may be left."""
        if self.values:
            raise ValueError(f"{self.where}: expected no field {sorted(self.values)[0]!r}")

    def require_windows(self, windows: Windows, padded: Shape, out_shape: Shape) -> None:
        """The output has as many rows and columns as windows fit on the padded image."""
        if len(padded) != 3 or len(out_shape) != 3:
            raise ValueError(f"{self.where}: expected images")
        if windows.counts((1, *padded)) != out_shape[:2]:
            raise ValueError(f"{self.where}: expected as many windows as fit on {padded}")

    def _several(self, name: str, value: Any, low: int, high: int) -> tuple[int, ...]:
        if type(value) not in (list, tuple):
            raise ValueError(f"{self.where}: expected integers as {name}")
        return tuple(self._checked(name, n, low, high) for n in value)

    def _two(self, name: str, value: Any) -> Any:
        if len(value) != 2:
            raise ValueError(f"{self.where}: expected two numbers as {name}")
        return value

    def _checked(self, name: str, value: Any, low: int, high: int) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{self.where}: expected {name} between {low} and {high}")
        return value


class StageArrays:
    """The arrays of one stage, taken out of those of a file.

    Attributes:
        taken: those that were taken, by name.
    """

    def __init__(self, stage: int, arrays: dict[str, HostArray]) -> None:
        self.stage = stage
        self.arrays = arrays
        self.taken: dict[str, HostArray] = {}

    def has(self, name: str) -> bool:
        """Whether the file has this array."""
        return f"{self.stage}.{name}" in self.arrays

    def take(self, name: str, *dtypes: type[np.generic]) -> HostArray:
        """A vector of one of these dtypes."""
        value = self.arrays.pop(f"{self.stage}.{name}", None)
        if value is None or value.ndim != 1 or value.dtype.type not in dtypes:
            raise ValueError(f"stage {self.stage}: expected a vector {name} of its dtype")
        self.taken[name] = value
        return value
