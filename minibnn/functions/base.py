"""What a function is here: a forward, and the backward that training uses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from minibnn.backend import Array


class Function(ABC):
    """A function of an array with the backward pass that training uses.

    `backward` need not be the derivative of `forward`: the derivative of a sign is zero almost
    everywhere, so binary networks train with the derivative of something smoother. `surrogate`
    says of what: `backward` must be its exact derivative, and the gradient check holds every
    function to that. For an ordinary differentiable function the surrogate is `forward` itself.

    Most functions need `forward`, `backward` and `surrogate` only. The other methods are for
    those that draw random numbers, and for those whose surrogate holds something fixed.

    A function that is a sign gives +1 at both zeros; the check asks it. Where 0 is a level of its
    own, `bits` says so: 2 or more.

    Shapes: any; every method keeps the shape and the dtype of `x`.

    Attributes:
        bits: how many bits one value of the output takes: 1 for a sign, 32 for a real number.
        signs: whether every value of the output is +1 or -1 (or nan).
    """

    bits: int = 32
    signs: bool = False

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
