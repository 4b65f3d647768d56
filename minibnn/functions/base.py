"""What a function is here: a forward, and the backward that training uses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from minibnn.backend import Array
from minibnn.functions.bit_width import weight_bits


class _Bits:
    """What `Function.bits` answers, unless a class has a `bits` of its own, which means nothing."""

    def __get__(self, function: Function | None, kind: type | None = None) -> Any:
        return self if function is None else weight_bits(function)


class Function(ABC):
    """A function of an array with the backward pass that training uses.

    `backward` need not be the derivative of `forward`: the derivative of a sign is zero almost
    everywhere, so binary networks train with the derivative of something smoother. `surrogate`
    says of what: `backward` must be its exact derivative, and the gradient check holds every
    function to that. For an ordinary differentiable function the surrogate is `forward` itself.

    Most functions need `forward`, `backward` and `surrogate` only. The other methods are for
    those that draw random numbers, and for those whose surrogate holds something fixed.

    A function that is a sign gives +1 at both zeros; the gradient check asks it.

    Shapes: any; every method keeps the shape and the dtype of `x`.

    How many values a function has, and so whether it is a quantizer and of how many bits, is found
    out from its `forward`, never from what it says of itself: see `weight_levels`.

    Attributes:
        bits: how many bits one value takes as a weight's quantizer: 1 for two values, 32 for real
            numbers. It is found out anew whenever it is asked for, in milliseconds.
    """

    bits: int = _Bits()  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """The value y = f(x)."""

    @abstractmethod
    def backward(self, dy: Array, x: Array) -> Array:
        """The gradient with respect to `x`, given `dy`, the gradient with respect to y."""

    def surrogate(self, x: Array) -> Array:
        """The function whose derivative `backward` applies."""
        return self.forward(x)

    def surrogate_at(self, x0: Array, dy: Array) -> Callable[[Array], Array]:
        """The surrogate for a backward at `x0` that is given `dy`.

        Only for functions whose backward takes something for constant that their surrogate
        computes (a scale from the mean of `x`), or that depends on the direction of `dy`.
        """
        return self.surrogate

    def train_forward(self, x: Array) -> Array:
        """The value in a training pass: `forward`, unless the function draws."""
        return self.forward(x)

    def initialize(self, rng: np.random.Generator) -> None:  # noqa: B027 (most have no state)
        """Draw whatever the function needs before it can draw; nothing by default."""

    def shipped_floats(self, shape: tuple[int, ...]) -> int:
        """How many real numbers ship beside the quantized values of a weight of this shape.

        For a quantizer with a scale for each output channel, ``shape[-1]``.
        """
        return 0
