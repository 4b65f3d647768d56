"""Standardising features: mean 0 and variance 1 in the training data."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array
from minibnn.encoding.base import Fitted
from minibnn.parameter import Buffer


class Standardize(Fitted):
    """Take each feature to mean 0 and variance 1, as fitted to the training data.

    .. equations::

        forward    y  = (x - mean) / std
        backward   dx = dy / std

    A feature that is constant in the training data only loses its mean. A missing value (nan) stays
    one. `pack` takes this layer directly before a sign or a code, which become comparisons with
    stored numbers. A missing value is -1 then, as from a code; a sign of floats leaves it nan.

    Shapes: x (batch, ..., features), of integers or the layer's dtype; y as x, of its dtype.

    Args:
        features: size of the last axis.

    Attributes:
        mean: (features,).
        std: (features,), the standard deviation, or 1.

    Raises:
        ValueError: from `fit`, for infinite values.

    >>> layer = Standardize(1).fit(np.array([[1.0], [3.0]]))
    >>> layer.forward(np.array([[1], [2], [5]]))
    array([[-1.],
           [ 0.],
           [ 3.]], dtype=float32)
    """

    mean: Buffer
    std: Buffer

    def __init__(self, features: int) -> None:
        super().__init__(features, mean=0, std=0)

    def __repr__(self) -> str:
        return f"Standardize({self.features})"

    def numbers(self, x: np.ndarray[Any, Any]) -> dict[str, Any]:
        """Mean and standard deviation."""
        with np.errstate(over="ignore", invalid="ignore"):
            std = np.nanstd(x, axis=0).astype(self.dtype)
        infinite = np.flatnonzero(~np.isfinite(std))
        if len(infinite):
            raise ValueError(
                f"{self}: expected numbers of a finite variance, got others in feature "
                f"{infinite[0]}; leave infinite samples out, or use a Thermometer in its place"
            )
        varies = (np.nanmin(x, axis=0) < np.nanmax(x, axis=0)) & (std > 0)
        return {"mean": np.nanmean(x, axis=0), "std": np.where(varies, std, 1)}

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``(x - mean) / std``."""
        self.check_fitted(x)
        y = (x.astype(self.dtype, copy=False) - self.mean.data) / self.std.data
        if train:
            self.note_input(x)
            self.saved = (y.shape,)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """``dy / std``."""
        self.take_saved(dy)
        return dy / self.std.data if need_dx else None
