"""What an elementwise function is here: a forward, and the backward that training uses."""

from __future__ import annotations

from abc import ABC, abstractmethod

from minibnn.backend import Array


class Function(ABC):
    """A stateless function with the backward pass that training uses.

    `backward` need not be the derivative of `forward`: the derivative of a sign is zero almost
    everywhere, so binary networks train with the derivative of something smoother. `surrogate`
    says of what: `backward` must be its exact derivative, and the gradient check holds every
    function to that. For an ordinary differentiable function the surrogate is `forward` itself.

    Shapes: any; all three methods keep the shape and the dtype of `x`.
    """

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
