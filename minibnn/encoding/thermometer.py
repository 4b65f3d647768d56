"""The thermometer code: a feature becomes one sign for each of several thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array
from minibnn.checks import integer
from minibnn.encoding.base import InputCode
from minibnn.parameter import Buffer

SPACINGS = ("quantile", "uniform")


class Thermometer(InputCode):
    """A number as signs that say which of some thresholds it has reached.

    .. equations::

        y[..., f B + k] = +1 where x[..., f] >= t[f, k], else -1          k = 0..B-1

    The thresholds of a feature rise, so its signs are those of a column of mercury: +1 up to some
    height. Neighbouring numbers have similar codes, which a sum of signs cannot get from the digits
    of a binary number. Nothing has to be scaled first: a comparison does not care.

    `pack` ships it exactly, as comparisons with stored numbers.

    Shapes: x (batch, ..., features), of integers or the layer's dtype; y (batch, ..., features B).

    Args:
        features: size of the last axis; each has thresholds of its own.
        bits: B, the number of thresholds for each feature.
        spacing: ``"quantile"``: B + 1 parts of equally many training samples, which suits most
            data, also with a few very large values; ``"uniform"``: B + 1 parts of equal length
            between the least and the greatest.

    Attributes:
        thresholds: t (features, bits).

    Raises:
        ValueError: from `fit`, for an infinite value with ``"uniform"``.

    References: Buckman et al. 2018, ICLR (openreview S18Su--CW), section 3, for uniform thresholds;
    Bacellar et al. 2022, ESANN (Distributive Thermometer), for quantiles.

    >>> code = Thermometer(1, 3, "uniform").fit(np.array([[0.0], [8.0]]))
    >>> code.forward(np.array([[1], [4], [7]]))
    array([[-1., -1., -1.],
           [ 1.,  1., -1.],
           [ 1.,  1.,  1.]], dtype=float32)
    """

    thresholds: Buffer

    def __init__(self, features: int, bits: int, spacing: str = "quantile") -> None:
        n = integer("Thermometer", "bits", bits, least=1)
        if spacing not in SPACINGS:
            raise ValueError(
                f'Thermometer: expected spacing "quantile" or "uniform", got {spacing!r}'
            )
        super().__init__(features, thresholds=n)
        self.spacing = spacing

    def arguments(self) -> dict[str, int]:
        """The constructor's argument that is no attribute; see `minibnn.description`."""
        return {"bits": self.signs}

    def __repr__(self) -> str:
        spacing = "" if self.spacing == "quantile" else f", {self.spacing!r}"
        return f"Thermometer({self.features}, {self.signs}{spacing})"

    @property
    def signs(self) -> int:
        """B."""
        return int(self.thresholds.data.shape[1])

    def numbers(self, x: np.ndarray[Any, Any]) -> dict[str, Any]:
        """The thresholds."""
        parts = np.arange(1, self.signs + 1) / (self.signs + 1)
        if self.spacing == "quantile":
            infinite = np.isinf(x).any(axis=0)
            thresholds = np.empty((self.signs, self.features))
            thresholds[:, ~infinite] = np.nanquantile(x[:, ~infinite], parts, axis=0)
            # Between finite and infinite numbers nothing can be interpolated.
            thresholds[:, infinite] = np.nanquantile(x[:, infinite], parts, axis=0, method="lower")
            return {"thresholds": thresholds.T}
        low, high = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            endless = np.flatnonzero(~np.isfinite(high - low))
        if len(endless):
            f = endless[0]
            raise ValueError(
                f"{self}: expected finite numbers for equal parts, got {low[f]} to {high[f]} in "
                f'feature {f}; use spacing="quantile"'
            )
        return {"thresholds": low[:, None] + (high - low)[:, None] * parts}

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """+1 where ``x >= t``, else -1."""
        self.check_fitted(x)
        return self.coded(x, x[..., None] >= self.thresholds.data, train)

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Zeros, which the derivative is almost everywhere."""
        return self.no_gradient(dy, need_dx)

    def intervals(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """From each threshold upwards."""
        low = self.backend.to_host(self.thresholds.data)
        return low, np.full_like(low, np.inf)
