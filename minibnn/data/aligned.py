"""Samples of another source, in the form of those that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minibnn.data.errors import SamplesError
from minibnn.data.samples import Samples

__all__ = ["aligned"]


def aligned(
    samples: Samples,
    *,
    shape: tuple[int, ...],
    dtype: str,
    classes: Sequence[str] | None = None,
    labelled: bool = True,
) -> Samples:
    """The samples in a model's shape and dtype, with its numbers of the classes.

    Args:
        samples: from a source; those of a table have the model's columns already.
        shape: of one sample, as the model takes it.
        dtype: of the model's input.
        classes: the names of the model's classes; None for numbers.
        labelled: whether the targets matter.

    Raises:
        SamplesError: for another shape, for values that the dtype does not have, for classes that
            the model does not know, and for classes in the place of numbers or the reverse.
    """
    x = samples.x
    if x.shape[1:] != shape and x.shape[1:] == (*shape, 1):
        x = x.reshape(len(x), *shape)  # images with an axis of one channel
    if x.shape[1:] != shape:
        hint = "give data of the same kind; images get their size from --size and --colour"
        raise SamplesError(
            samples.name, f"samples of shape {shape}, as in training", f"{x.shape[1:]}", hint
        )
    names = samples.feature_names if x.shape == samples.x.shape else None
    found = replace(samples, x=_converted(samples, x, np.dtype(dtype)), feature_names=names)
    if not labelled:
        return found
    if not samples.y.size:
        raise SamplesError(samples.name, "a target", "none", "name its column: --target COLUMN")
    if classes is not None:
        return found.with_classes(classes)
    if samples.class_names is not None:
        expected, hint = "numbers to compare with", "name their column: --target COLUMN"
        raise SamplesError(samples.name, expected, "classes", hint)
    return found


def _converted(samples: Samples, x: Any, dtype: np.dtype[Any]) -> Any:
    """The values in a dtype; whole numbers stay what they are, or it is an error."""
    if x.dtype == dtype:
        return x
    with np.errstate(invalid="ignore"):
        converted = x.astype(dtype)
    wrong = np.argwhere(converted != x) if dtype.kind != "f" else np.zeros((0, x.ndim), int)
    if len(wrong):
        at, info = tuple(wrong[0]), np.iinfo(dtype)
        where = f"sample {at[0] + 1}"
        if samples.feature_names is not None:
            where += f", column {samples.feature_names[at[-1]]!r}"
        expected = f"whole numbers from {info.min} to {info.max}, as in training, at {where}"
        hint = "correct the number, or train with such numbers too"
        raise SamplesError(samples.name, expected, f"{x[at]}", hint)
    return converted
