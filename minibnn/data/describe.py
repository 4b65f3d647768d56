"""What is in labelled samples: shapes, classes, ranges, missing values, duplicates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Described", "describe"]

_Any = np.ndarray[Any, Any]
_MOST_ROWS = 40  # of a table that is printed whole


@dataclass(frozen=True, eq=False, repr=False)
class Described:
    """What `Samples.describe` found; prints as text.

    Attributes:
        name: of the samples.
        kind: what was read, in words.
        shape: of x.
        dtype: of x.
        table: a DataFrame with one row for each feature, or one for all values if the features
            have no names: ``low``, ``high``, ``mean``, ``different`` values, ``missing`` ones.
        classes: a DataFrame with one row for each class: ``count`` and ``share``; for numbers one
            row for each number: ``low``, ``high``, ``mean``.
        groups: how many there are; None without groups.
        duplicates: samples that occurred before in the same part.
        conflicts: those among them with another target.
        shared: samples of the other part that occur in this one, too; None without another part.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    table: pd.DataFrame
    classes: pd.DataFrame
    groups: int | None
    duplicates: int
    conflicts: int
    shared: int | None

    def __repr__(self) -> str:
        import pandas as pd

        lines = [f"{self.name}: {self.kind}" if self.kind else self.name]
        lines.append(f"{self.shape[0]} samples of shape {self.shape[1:]}, {self.dtype}")
        if self.groups is not None:
            lines.append(f"{self.groups} groups")
        with pd.option_context("display.max_rows", _MOST_ROWS, "display.width", 100):
            if len(self.classes):
                lines += ["", repr(self.classes)]
            lines += ["", repr(self.table), ""]
        lines.append(f"duplicates: {self.duplicates}, {self.conflicts} with another target")
        if self.shared is not None:
            lines.append(f"samples of the other part that are in this one, too: {self.shared}")
        return "\n".join(lines)


def describe(
    name: str,
    kind: str,
    x: _Any,
    y: _Any,
    *,
    class_names: Sequence[str] | None,
    feature_names: Sequence[str] | None,
    groups: _Any | None,
    other: _Any | None,
) -> Described:
    """What is in labelled samples; `other` are samples of another part, to be looked for in x."""
    first: dict[bytes, int] = {}
    duplicates = conflicts = 0
    for i, key in enumerate(_keys(x)):
        before = first.setdefault(key, i)
        if before != i:
            duplicates += 1
            conflicts += not np.array_equal(y[i], y[before])
    shared = None if other is None else sum(key in first for key in _keys(other))
    count = None if groups is None else len(np.unique(groups))
    return Described(
        name, kind, x.shape, x.dtype, _table(x, feature_names), _targets(y, class_names), count,
        duplicates, conflicts, shared,
    )  # fmt: skip


def _keys(x: _Any) -> Iterator[bytes]:
    """A few bytes for each sample, the same for the same values of any dtype."""
    import hashlib

    for row in x:
        values = np.ascontiguousarray(row, np.float32) + np.float32(0)  # -0 is 0, too
        yield hashlib.blake2b(values.tobytes(), digest_size=16).digest()


def _table(x: _Any, names: Sequence[str] | None) -> pd.DataFrame:
    import pandas as pd

    columns, index = x.reshape(1, -1), pd.Index(["all values"], name="feature")
    if names is not None:
        columns, index = x.reshape(-1, len(names)).T, pd.Index(names, name="feature")
    return pd.DataFrame([_ranges(column) for column in columns], index=index)


def _ranges(values: _Any) -> dict[str, Any]:
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    found: dict[str, Any] = {"low": np.nan, "high": np.nan, "mean": np.nan}
    if known.size:
        found = {"low": known.min(), "high": known.max(), "mean": known.mean(dtype=np.float64)}
    return found | {"different": len(np.unique(known)), "missing": values.size - known.size}


def _targets(y: _Any, names: Sequence[str] | None) -> pd.DataFrame:
    import pandas as pd

    if names is None:
        numbers = y.reshape(len(y), math.prod(y.shape[1:])).T
        rows = [
            {"low": t.min(), "high": t.max(), "mean": t.mean(dtype=np.float64)} for t in numbers
        ]
        return pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name="number"))
    counts = np.bincount(y, minlength=len(names))
    index = pd.Index(names, name="class")
    return pd.DataFrame({"count": counts, "share": counts / len(y)}, index=index)
