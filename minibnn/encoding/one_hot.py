"""The one-hot code: a category becomes one +1 among -1."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array
from minibnn.checks import integer
from minibnn.encoding.base import InputCode
from minibnn.parameter import Buffer


class OneHotCode(InputCode):
    """A category, given as a number, as signs of which one is +1.

    .. equations::

        y[..., f B + k] = +1 where x[..., f] = c[f, k], else -1          k = 0..B-1

    c[f] are the values of feature f in the training data, in rising order. Another value, and a
    missing one, becomes -1 everywhere. If a feature has fewer than B values, the signs left over
    are always -1.

    `pack` ships it exactly, as comparisons with stored numbers.

    Shapes: x (batch, ..., features), of integers or the layer's dtype; y (batch, ..., features B).

    Args:
        features: size of the last axis; each has categories of its own.
        categories: B, the largest number of categories of a feature.

    Attributes:
        values: c (features, categories); nan where there are fewer.

    Raises:
        ValueError: from `fit`, for a feature with more categories, and for whole numbers that the
            layer's dtype does not have.

    >>> code = OneHotCode(1, 3).fit(np.array([[2], [5], [9], [5]]))
    >>> code.forward(np.array([[5], [7]]))
    array([[-1.,  1., -1.],
           [-1., -1., -1.]], dtype=float32)
    """

    values: Buffer

    def __init__(self, features: int, categories: int) -> None:
        n = integer("OneHotCode", "categories", categories, least=1)
        super().__init__(features, values=n)

    def arguments(self) -> dict[str, int]:
        """The constructor's argument that is no attribute; see `minibnn.description`."""
        return {"categories": self.signs}

    def __repr__(self) -> str:
        return f"OneHotCode({self.features}, {self.signs})"

    @property
    def signs(self) -> int:
        """B."""
        return int(self.values.data.shape[1])

    def numbers(self, x: np.ndarray[Any, Any]) -> dict[str, Any]:
        """The categories."""
        found = np.full((self.features, self.signs), np.nan)
        for f, column in enumerate(x.T):
            column = column[~np.isnan(column)]
            values = np.unique(column.astype(self.dtype))
            rounded = (column != column.astype(self.dtype)) & (column == np.round(column))
            if rounded.any():
                raise ValueError(
                    f"{self}: expected categories that {self.dtype} has, got "
                    f"{column[rounded][0]:.0f} in feature {f}; number them anew: "
                    "x = np.unique(x, return_inverse=True)[1]"
                )
            if len(values) > self.signs:
                raise ValueError(
                    f"{self}: expected at most {self.signs} categories, got {len(values)} in "
                    f"feature {f}; write OneHotCode({self.features}, {len(values)}), or give "
                    "numbers that are no categories to a Thermometer"
                )
            found[f, : len(values)] = values
        return {"values": found}

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """+1 where ``x = c``, else -1."""
        self.check_fitted(x)
        return self.coded(x, x[..., None] == self.values.data, train)

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Zeros, which the derivative is almost everywhere."""
        return self.no_gradient(dy, need_dx)

    def intervals(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Each category alone."""
        values = self.backend.to_host(self.values.data)
        return values, values
