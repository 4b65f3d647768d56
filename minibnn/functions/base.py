"""The base class of functions: a forward, and the backward that training uses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from minibnn.backend import Array
from minibnn.functions.bit_width import weight_bits
from minibnn.state import Stateful


class _Bits:
    """`Function.bits`. A class's own `bits` hides it, but nothing in minibnn reads that."""

    def __get__(self, function: Function | None, kind: type | None = None) -> Any:
        return self if function is None else weight_bits(function)


class Function(Stateful, ABC):
    """A function of an array with the backward pass that training uses.

    `backward` need not be the derivative of `forward`: the derivative of a sign is zero almost
    everywhere, so binary networks train with the derivative of a smoother function, the
    `surrogate`. `backward` must be the exact derivative of `surrogate`, which the gradient check
    tests. For an ordinary differentiable function the surrogate is `forward` itself.

    Most functions only need `forward`, `backward` and `surrogate`. The other methods are for
    functions that draw random numbers, and for those whose surrogate keeps something fixed.

    A sign function gives +1 at both zeros; the gradient check tests that as well.

    Shapes: any; every method keeps the shape and the dtype of `x`.

    The values of `forward` decide whether a function is a quantizer, and of how many bits; a
    declaration is neither needed nor read. See `weight_levels`.

    Attributes:
        linear: whether ``backward(a + b, x)`` is ``backward(a, x) + backward(b, x)``, as where dy
            is multiplied by a slope; False if the slope depends on dy, as in `AdaSTE`. Several
            ranks call the backward of such a weight quantizer on the sum of their dy.
        bits: how many bits one value takes if the function quantizes a weight: 1 for two values,
            32 for real numbers. Each access computes it anew, in milliseconds.
    """

    linear: ClassVar[bool] = True
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
        """The function whose exact derivative `backward` is."""
        return self.forward(x)

    def surrogate_at(self, x0: Array, dy: Array) -> Callable[[Array], Array]:
        """The surrogate that belongs to backward at the point `x0` for this `dy`.

        Override it if there is not one surrogate for all cases. Backward may treat a part as
        constant (a scale from the mean of `x`, say): then return a function in which this part has
        its value for `x0`. Or the slope may depend on the sign of `dy`, as in `AdaSTE`.
        """
        return self.surrogate

    def train_forward(self, x: Array) -> Array:
        """The value in a training pass: `forward`, unless the function draws random numbers."""
        return self.forward(x)

    def initialize(self, rng: np.random.Generator) -> None:
        """Seed the function's random stream, if it has one; nothing by default."""

    def shipped_floats(self, shape: tuple[int, ...]) -> int:
        """How many real numbers ship beside the quantized values of a weight of this shape.

        A quantizer with a scale for each output channel returns ``shape[-1]``.
        """
        return 0
