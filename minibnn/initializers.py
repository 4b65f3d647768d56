"""Starting values of parameters, and the learning-rate scales that belong to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from minibnn.checks import finite, integer, number


class Initializer(Protocol):
    """A function from a shape and a generator to starting values, as an array on the host.

    All values are drawn on the host, so that a seed gives the same network on every device.
    """

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, /) -> Any:
        """Draw an array of `shape`."""


@dataclass(frozen=True)
class GlorotUniform:
    """Uniform in ``[-a, a]`` with ``a = sqrt(6 / (fan_in + fan_out))``.

    For a shape ``(..., in, out)`` the leading axes (a convolution's window) multiply both fans.

    Reference: Glorot and Bengio 2010, equation 16.
    """

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
        """Draw an array of `shape`."""
        *window, fan_in, fan_out = shape
        a = math.sqrt(6 / (math.prod(window) * (fan_in + fan_out)))
        return rng.uniform(-a, a, size=shape)


@dataclass(frozen=True)
class Uniform:
    """Uniform in ``[low, high]``; the usual start of bounded latent weights is [-1, 1].

    Raises:
        ValueError: unless low < high.
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, finite("Uniform", name, getattr(self, name)))
        if self.low >= self.high:
            raise ValueError(
                f"Uniform: expected low < high, got {self.low:g} and {self.high:g}; the same value "
                f"everywhere is Fill(value), a symmetric range Uniform(-bound, bound)"
            )

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
        """Draw an array of `shape`."""
        return rng.uniform(self.low, self.high, size=shape)


@dataclass(frozen=True)
class Fill:
    """The same value everywhere; draws nothing."""

    value: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", number("Fill", "value", self.value))

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
        """Make an array of `shape`."""
        return np.full(shape, self.value)


def glorot_lr_scale(fan_in: int, fan_out: int) -> float:
    """BinaryNet's per-layer learning-rate scale, ``sqrt((fan_in + fan_out) / 1.5)``.

    This is the inverse of the Glorot coefficient: latent weights in [-1, 1] have a wider range than
    Glorot's, so updates have to grow by the same factor. For Adam use it as it is, for plain SGD
    use its square.

    Reference: Courbariaux et al. 2015, arXiv:1511.00363, among its "tricks", and their code.

    >>> round(glorot_lr_scale(784, 4096), 1)
    57.0
    """
    who = "glorot_lr_scale"
    fans = integer(who, "fan_in", fan_in) + integer(who, "fan_out", fan_out)
    return math.sqrt(fans / 1.5)
