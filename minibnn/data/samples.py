"""Labelled samples of any kind in memory: rows of a table, signals or images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from minibnn.backend import require_plain
from minibnn.checks import finite, generator
from minibnn.data.errors import SamplesError
from minibnn.data.narrow import as_numbers, class_numbers, narrow, place, refuse_missing

if TYPE_CHECKING:
    from minibnn.data.describe import Described

__all__ = ["Samples"]

_Any = np.ndarray[Any, Any]
_DTYPES = (np.uint8, np.int8, np.int16, np.float32)


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """Samples with one class or some numbers for each; `of` makes them from arrays and tables.

    Shapes:
        x (n, ...) uint8, int8, int16 or float32; y (n,) int64 for classes, (n,) or (n, k) float32
        for numbers; (n, 0) float32 if nothing is known about the samples. groups (n,).

    Attributes:
        name: the name of the file, or what the caller gave.
        x: the samples.
        y: the number of each sample's class, or the numbers to be predicted.
        class_names: of classes, in the order of their numbers; None for numbers.
        feature_names: along the last axis of x, or None.
        groups: for each sample what it belongs to, a person for instance: `split` keeps the
            samples of a group together. Or None.
        kind: what was read, in words.

    Raises:
        SamplesError: the parts do not fit each other.

    >>> table = Samples.of([[0.5, 2.0], [1.5, 3.0]], ["cat", "dog"], name="pets")
    >>> table
    Samples('pets', 2 of shape (2,) float32, 2 classes)
    >>> table.y, table.class_names
    (array([0, 1]), ('cat', 'dog'))
    """

    name: str
    x: _Any
    y: _Any
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    groups: _Any | None = None
    kind: str = ""

    def __post_init__(self) -> None:
        n, where = len(self.x), self.name
        if self.x.dtype not in _DTYPES or self.x.ndim < 2:
            expected = "x of shape (n, ...), uint8, int8, int16 or float32"
            got = f"{self.x.shape} {self.x.dtype}"
            raise SamplesError(where, expected, got, "Samples.of(x, y) converts")
        if not n:
            raise SamplesError(where, "at least one sample", "none", "name a source with samples")
        if not self.x.size:
            expected = "samples of at least one value"
            raise SamplesError(where, expected, f"shape {self.x.shape}", "keep a column beside y")
        for name, one in (("y", self.y), ("groups", self.groups)):
            if one is not None and len(one) != n:
                got = f"{n} samples and {len(one)} in {name}"
                raise SamplesError(
                    where, f"one of {name} for each sample", got, "do they belong together?"
                )
        if self.feature_names is not None and len(self.feature_names) != self.x.shape[-1]:
            expected = f"{self.x.shape[-1]} feature names, as the last axis of x is long"
            got = f"{len(self.feature_names)}"
            raise SamplesError(where, expected, got, "leave out feature_names to go without")
        classes = self.class_names is not None
        if self.y.dtype != (np.int64 if classes else np.float32) or self.y.ndim not in (
            1,
            2 - classes,
        ):
            expected = "y (n,) int64 with class_names, or (n,) or (n, k) float32 without"
            got = f"{self.y.shape} {self.y.dtype}"
            raise SamplesError(where, expected, got, "Samples.of(x, y) converts")

    def __repr__(self) -> str:
        shape = f"{len(self)} of shape {self.x.shape[1:]} {self.x.dtype}"
        return f"Samples({self.name!r}, {shape}, {self.target})"

    def __len__(self) -> int:
        return len(self.x)

    @property
    def target(self) -> str:
        """What y is, in words: ``"3 classes"``, ``"1 number"``, ``"no target"``."""
        if self.class_names is not None:
            count, what = len(self.class_names), "class"
            return f"{count} {what}{'es' * (count != 1)}"
        count = 1 if self.y.ndim == 1 else self.y.shape[1]
        return f"{count} number{'s' * (count != 1)}" if count else "no target"

    @classmethod
    def of(
        cls,
        x: Any,
        y: Any = None,
        *,
        name: str = "data",
        classes: bool | None = None,
        class_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
        groups: Any = None,
        missing: str = "refuse",
        kind: str = "",
    ) -> Samples:
        """Samples from arrays, lists, or a pandas DataFrame and a Series.

        Integers that are none of the four dtypes become int16, or uint8 if they have three axes or
        more and are bytes, or float32 if it holds them exactly. Wider floats become float32.

        Args:
            x: the samples; the names of a DataFrame's columns become the feature names. A column
                of texts becomes whole numbers, in the order of the sorted texts, and the
                feature's name says which: ``"island: 0 Biscoe, 1 Dream"``.
            y: the targets; None for samples of which nothing is known.
            name: for messages.
            classes: whether y are classes. By default texts, bools and integers are, floats are
                not.
            class_names: of the classes 0, 1, ...; by default the values of y, sorted, are.
            feature_names: along the last axis.
            groups: what each sample belongs to, a person for instance.
            missing: ``"refuse"`` nan in x, ``"keep"`` it, or ``"drop"`` such samples. A target must
                not be missing; ``"drop"`` drops these samples, too.
            kind: what was read, in words.

        Raises:
            SamplesError: x or y cannot become what is said above; with the place and the value.
        """
        from minibnn.data.frames import from_frame, is_frame

        if missing not in ("refuse", "keep", "drop"):
            expected = "missing to be 'refuse', 'keep' or 'drop'"
            raise ValueError(f"Samples.of: expected {expected}, got {missing!r}")
        if is_frame(x):
            x, columns = from_frame(name, x)
            feature_names = columns if feature_names is None else feature_names
        x = _array(name, x)
        if x.ndim == 1:
            expected = "samples along the first axis of x, (n, ...)"
            hint = "use x.reshape(-1, 1) for one value each"
            raise SamplesError(name, expected, f"{x.shape}", hint)
        names = None if feature_names is None else tuple(map(str, feature_names))
        targets = np.zeros((len(x), 0), np.float32) if y is None else _array(name, y)
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = targets[:, 0]
        groups = None if groups is None else _array(name, groups)
        if missing == "drop":
            x, targets, groups = _without_missing(x, targets, groups)
        elif missing == "refuse":
            refuse_missing(name, x, names)
        if classes is None:
            classes = targets.dtype.kind not in "f"
        if classes and y is not None:
            targets, known = class_numbers(name, targets, class_names)
            return cls(name, narrow(name, x, names), targets, known, names, groups, kind)
        targets = as_numbers(name, targets)
        return cls(name, narrow(name, x, names), targets, None, names, groups, kind)

    def take(self, index: _Any) -> Samples:
        """The samples at these places; all classes keep their numbers."""
        groups = None if self.groups is None else self.groups[index]
        return replace(self, x=self.x[index], y=self.y[index], groups=groups)

    def with_classes(self, class_names: Sequence[str]) -> Samples:
        """The same samples with the class numbers of a model, by the names of the classes.

        Raises:
            SamplesError: a sample is of none of these classes, or y are no classes.
        """
        hint = "leave these samples out, or train with them"
        if self.class_names is None:
            got = self.target
            raise SamplesError(self.name, f"the classes {_some(class_names)}", got, hint)
        known = {name: number for number, name in enumerate(class_names)}
        numbers = np.array([known.get(name, -1) for name in self.class_names], np.int64)[self.y]
        if (numbers < 0).any():
            at = int((numbers < 0).argmax())
            got = f"class {self.class_names[self.y[at]]!r} at {place((at,), None)}"
            raise SamplesError(self.name, f"the classes {_some(class_names)}", got, hint)
        return replace(self, y=numbers, class_names=tuple(class_names))

    def split(
        self, fraction: float, *, rng: Any, stratify: bool = True, by_group: bool | None = None
    ) -> tuple[Samples, Samples]:
        """Two parts, for training and for testing; the same seed gives the same parts.

        Both keep the order of the samples.

        Args:
            fraction: of the samples that go into the second part, between 0 and 1.
            rng: a generator, or a seed.
            stratify: whether each class has the same share of both parts, as far as possible.
            by_group: whether all samples of a group go into one part; by default if there are
                groups. The second part is then as large as whole groups allow.

        Raises:
            SamplesError: there are too few samples, or groups, for two parts.
            ValueError: for another fraction.
        """
        from minibnn.data.splits import chosen, chosen_groups

        share = finite("Samples.split", "fraction", fraction)
        if not 0 < share < 1:
            raise ValueError(
                f"Samples.split: expected fraction between 0 and 1, got {fraction}; 0.2 tests on a "
                "fifth of the samples"
            )
        random = generator("Samples.split", rng)
        if by_group is None:
            by_group = self.groups is not None
        if by_group and self.groups is None:
            hint = "name their column with group=, or pass groups= to Samples.of"
            raise SamplesError(self.name, "groups to split by", "none", hint)
        stratify = stratify and self.class_names is not None
        labels = self.y if stratify else np.zeros(len(self), np.int64)
        if by_group:
            test = chosen_groups(self.name, labels, self.groups, share, random)
        else:
            test = chosen(self.name, labels, share, random)
        return self.take(np.flatnonzero(~test)), self.take(np.flatnonzero(test))

    def describe(self, other: Samples | None = None) -> Described:
        """Shapes, classes with their counts, ranges, missing values and duplicates, for reading.

        Args:
            other: the test part: samples that occur in both are counted.

        Returns:
            An object that prints as text, with a pandas DataFrame in ``table`` and in ``classes``.
        """
        from minibnn.data.describe import describe

        return describe(
            self.name, self.kind, self.x, self.y, class_names=self.class_names,
            feature_names=self.feature_names, groups=self.groups,
            other=None if other is None else other.x,
        )  # fmt: skip


def _array(name: str, values: Any) -> _Any:
    """The values as an array on the host."""
    if hasattr(values, "to_numpy"):  # of pandas
        values = values.to_numpy()
    require_plain(values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        hint = "make all of them equally long"
        raise SamplesError(name, "rows of one length", str(error), hint) from None
    if array.dtype.kind == "O":
        array = _plain(array)
    if not array.ndim:
        got = type(values).__name__
        raise SamplesError(name, "an array of samples", got, "pass arrays, lists or a DataFrame")
    return array


def _plain(array: _Any) -> _Any:
    """Objects as bools, numbers or texts, if all of them are; None is nan."""
    flat = array.ravel().tolist()
    kinds = {type(v) for v in flat if v is not None and v == v}
    if kinds and kinds <= {str, np.str_}:
        known = [v if isinstance(v, str) else "" for v in flat]
        return np.array(known).reshape(array.shape)
    if kinds == {bool} and len(kinds) == len({type(v) for v in flat}):
        return array.astype(bool)
    if all(issubclass(k, int | float | np.integer | np.floating) for k in kinds):
        whole = all(issubclass(k, int | np.integer) for k in {type(v) for v in flat})
        return array.astype(np.int64 if whole else np.float64)
    return array


def _without_missing(x: _Any, y: _Any, groups: _Any | None) -> tuple[_Any, _Any, _Any | None]:
    kept = np.ones(len(x), bool)
    for one in (x, y):
        if len(one) == len(x) and one.dtype.kind == "f":
            kept &= ~np.isnan(one).reshape(len(one), -1).any(1)
        if len(one) == len(x) and one.dtype.kind == "U":
            kept &= (one != "").reshape(len(one), -1).all(1)
    if len(y) != len(x):
        return x, y, groups
    return x[kept], y[kept], groups if groups is None else groups[kept]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
