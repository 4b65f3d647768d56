"""The input that a model expects: noted while it is trained, or stated by the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.checks import number
from minibnn.checks import shape as check_shape


@dataclass(frozen=True)
class InputContract:
    """The samples that a model expects: dtype, shape and range, and the source of this knowledge.

    Every layer has one in its attribute `input_contract`; before training this is None. `fit` sets
    the model's contract from all training samples. In a loop of your own, `Sequential`, `Rescale`,
    `Dense` and `Conv2D` note the dtype and the shape of their training input. `pack` refuses a
    model that was not trained on bytes. For a model that was assembled after training, state the
    contract:

    >>> from minibnn import Rescale, Sequential
    >>> model = Sequential(Rescale(1 / 255))
    >>> model.input_contract = InputContract("uint8", (28, 28))
    >>> print(model.input_contract)
    uint8 of shape (28, 28) (stated)

    Attributes:
        dtype: of the samples, as they enter the model.
        shape: of one sample.
        low: the smallest value in training; None if unknown.
        high: the largest.
        source: where this is known from, as text.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None
    source: str = "stated"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        object.__setattr__(self, "shape", check_shape("InputContract", "shape", self.shape))
        for name in ("low", "high"):
            if getattr(self, name) is not None:
                value = number("InputContract", name, getattr(self, name))
                object.__setattr__(self, name, value)

    def __str__(self) -> str:
        between = "" if self.low is None else f" between {self.low:.6g} and {self.high:.6g}"
        return f"{self.dtype} of shape {self.shape}{between} ({self.source})"

    @classmethod
    def of(cls, x: Array, source: str) -> InputContract:
        """The contract of a whole data set `x`, with its range; this waits for a device."""
        low = high = None
        if x.dtype.kind in "biuf" and x.size:
            to_host = backend_of(x).to_host
            ends = (float(to_host(end())) for end in (x.min, x.max))
            low, high = ends
            if not np.isfinite(low + high):  # training raises for nan or infinite samples
                low = high = None
        return cls(x.dtype, x.shape[1:], low, high, source)

    def state(self) -> dict[str, Any]:
        """Its attributes as numbers and texts."""
        return {
            "dtype": str(self.dtype),
            "shape": list(self.shape),
            "low": self.low,
            "high": self.high,
            "source": self.source,
        }

    @property
    def bytes_only(self) -> bool:
        """Whether all values are integers from 0 to 255, whatever their dtype."""
        if self.dtype.kind not in "biu":
            return False
        if self.low is not None and self.high is not None:
            return self.low >= 0 and self.high <= 255
        return self.dtype in (np.uint8, np.bool_)
