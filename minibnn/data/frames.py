"""pandas DataFrames as arrays."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from minibnn.data.columns import feature_name
from minibnn.data.errors import SamplesError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_frame", "is_frame"]


def is_frame(x: Any) -> TypeGuard[pd.DataFrame]:
    """Whether it is a pandas DataFrame. pandas is not imported for that."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(x, pandas.DataFrame)


def from_frame(who: str, frame: pd.DataFrame) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """The numbers of a DataFrame, and the names of its columns; texts become whole numbers.

    Shapes: result (rows, columns), of one dtype.

    Raises:
        SamplesError: for a column of neither numbers nor texts.
    """
    from pandas.api import types

    columns, names = [], []
    for position, label in enumerate(frame.columns):
        column, name = frame.iloc[:, position], str(label)
        if types.is_bool_dtype(column.dtype) and not column.isna().any():
            values = column.to_numpy(np.uint8)
        elif types.is_numeric_dtype(column.dtype):
            values = (
                column.to_numpy(np.float64, na_value=np.nan)
                if column.isna().any() or types.is_float_dtype(column.dtype)
                else column.to_numpy()
            )
        else:
            values, name = _texts(who, name, column)
        columns.append(values)
        names.append(name)
    if not columns:
        raise SamplesError(who, "a DataFrame with columns", "none", "keep a column beside y")
    return np.stack(columns, 1), tuple(names)


def _texts(who: str, name: str, column: pd.Series[Any]) -> tuple[np.ndarray[Any, Any], str]:
    missing = column.isna().to_numpy()
    texts = column[~missing].tolist()
    if not all(isinstance(text, str) for text in texts):
        got = next(text for text in texts if not isinstance(text, str))
        expected = f"numbers or texts in column {name!r}"
        raise SamplesError(who, expected, f"{got!r}", "convert the column to numbers")
    coded, categories = feature_name(who, name, texts)
    numbers = {text: number for number, text in enumerate(categories)}
    if not missing.any():
        return np.array([numbers[text] for text in texts], np.int64), coded
    values = np.full(len(column), np.nan)
    values[~missing] = [numbers[text] for text in texts]
    return values, coded
