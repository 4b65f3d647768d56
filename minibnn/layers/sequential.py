"""Sequential: one layer after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from minibnn.backend import Array
from minibnn.checks import write_hint
from minibnn.functions import Function
from minibnn.gradient_clock import Backwards
from minibnn.input_contract import InputContract
from minibnn.layers.base import Layer


class Sequential(Layer):
    """Feed each layer's output to the next; the error travels back in the opposite order.

    Args:
        layers: in order; each object once, since a layer stores one forward pass.

    Raises:
        ValueError: for a layer, parameter or feedback object that appears twice.
        TypeError: for something that is not a layer.
    """

    def __init__(self, *layers: Layer) -> None:
        self._layers = layers
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"Sequential: expected layers, got {layer!r} at position {i}{layer_hint(layer)}"
                )
        trained = (
            i for i, layer in enumerate(layers) if next(layer.named_parameters(), None) is not None
        )
        self._first_trained = next(trained, len(layers))
        require_once("Sequential", layers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, in order; they are fixed."""
        return self._layers

    def __repr__(self) -> str:
        return "Sequential(\n" + "".join(f"    {layer!r},\n" for layer in self.layers) + ")"

    def __len__(self) -> int:
        return len(self.layers)

    # Any: a type checker cannot know which layer is where, and ``model[2].weight`` is right.
    def __getitem__(self, i: int) -> Any:
        return self.layers[i]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __str__(self) -> str:
        return f"Sequential({len(self)} layers)"

    def named_children(self) -> Iterator[tuple[str, Layer]]:
        """The layers in order, each with its position as its name."""
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """The output of the last layer."""
        y = x
        for i in range(len(self._layers)):
            y = self._layer_forward(i, y, train)
        if train:
            self.note_input(x)
        return y

    def set_input_contract(self, contract: InputContract) -> None:
        """Remember the training input, which is also the first layer's."""
        super().set_input_contract(contract)
        if self._layers:
            self._layers[0].set_input_contract(contract)

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Run every layer's backward, last first; return the gradient of the input.

        Without `need_dx`, the layers below the first layer with parameters compute nothing; they
        only forget what they saved.
        """
        Backwards.last = next(Backwards.clock)  # users' layers may not call `take_saved`
        first = 0 if need_dx else self._first_trained
        gradient: Array | None = dy
        for i in reversed(range(first, len(self.layers))):
            gradient = self._layer_backward(i, gradient, need_dx or i > first)
        for layer in self.layers[:first]:
            layer.forget()
        return gradient if need_dx else None

    def _layer_forward(self, i: int, x: Array, train: bool) -> Array:
        """One layer's forward; errors name the layer."""
        try:
            return self._layers[i].forward(x, train=train)
        except (TypeError, ValueError, RuntimeError) as error:
            self._name_layer(error, i)
            raise

    def _layer_backward(self, i: int, dy: Array, need_dx: bool) -> Array | None:
        """One layer's backward, which must return a dx if asked; errors name the layer."""
        layer = self._layers[i]
        try:
            dx = layer.backward(dy, need_dx=need_dx)
            if need_dx and dx is None:
                raise TypeError(f"{layer}: expected backward to return dx, got None")
        except (TypeError, ValueError, RuntimeError) as error:
            self._name_layer(error, i)
            raise
        return dx

    def _name_layer(self, error: Exception, i: int) -> None:
        error.add_note(f"in layer {i} of {type(self).__name__}: {self.layers[i]!r}")


def require_once(who: str, layers: Sequence[Layer]) -> None:
    """Raise ValueError if a layer, parameter or buffer appears twice."""
    owned: list[object] = [*layers]
    for layer in layers:
        owned += [*layer.parameters(), *layer.buffers()]
    if len({id(thing) for thing in owned}) < len(owned):
        raise ValueError(
            f"{who}: expected each layer, parameter and feedback object once, got one "
            "of them twice; make a new object for each place"
        )


def layer_hint(value: object) -> str:
    """What the user probably meant where a layer belongs, as a hint."""
    if isinstance(value, type) and issubclass(value, Layer):
        return write_hint(value)
    if isinstance(value, type) and issubclass(value, Function):
        return write_hint(value, "Activation({})")
    if isinstance(value, Function):
        return f"; write Activation({value!r})"
    return "; write Sequential(*layers)" if isinstance(value, list | tuple) else ""
