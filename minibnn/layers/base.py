"""The base class of layers: an explicit forward, an explicit backward, and the arrays it owns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from minibnn.backend import CPU, Array, Backend, get_backend
from minibnn.checks import float_dtype, generator, require_methods
from minibnn.functions import Function
from minibnn.gradient_clock import Backwards
from minibnn.input_contract import InputContract
from minibnn.layers.input_errors import require_device, wrong_dtype, wrong_features, wrong_saved
from minibnn.layers.prediction import LayerPrediction
from minibnn.layers.state import LayerState
from minibnn.parameter import Buffer, Parameter
from minibnn.random_stream import RandomStream
from minibnn.renames import moved

if TYPE_CHECKING:
    from minibnn.inspection.summary import Summary

COSTS = "minibnn.inspection.costs"

_Kind = TypeVar("_Kind", Parameter, Buffer, Function, RandomStream)


class Layer(LayerPrediction, LayerState, ABC):
    """A step of a network, with an explicit backward pass.

    The tests hold every layer to these rules:

    - ``forward(x, train=True)`` stores in `saved` exactly what `backward` needs, and the next
      `backward` releases it. ``forward(x)`` stores nothing. `saved` may hold `x` itself, so do not
      change `x` in between.
    - `backward` overwrites each parameter's ``grad`` in place, with and without `need_dx`. It
      changes neither weights nor arguments, and draws no random number: `forward` saves what it
      drew, such as a mask.
    - The output has the input's dtype: float32 as a rule, float64 for gradient checks.

    A layer of your own overrides `forward` and `backward`. Its attributes of type `Parameter`,
    `Buffer` or `Layer` are found automatically. `check_input` and `take_saved` make the checks
    that all layers share:

    >>> from minibnn import Fill, Parameter, check_gradients
    >>> from minibnn.backend import batch_sum
    >>> class Scale(Layer):
    ...     '''y = s x for each feature; dx = s dy, ds = sum of x dy over the batch.'''
    ...
    ...     def __init__(self, features):
    ...         self.scale = Parameter("scale", (features,), Fill(1.0))
    ...
    ...     def forward(self, x, *, train=False):
    ...         self.check_input(x, self.scale.size)
    ...         y = x * self.scale.data
    ...         if train:
    ...             self.saved = (y.shape, x)  # the output's shape, then whatever backward needs
    ...         return y
    ...
    ...     def backward(self, dy, *, need_dx=True):
    ...         (x,) = self.take_saved(dy)
    ...         batch_sum(x * dy, out=self.scale.grad)
    ...         return dy * self.scale.data if need_dx else None
    >>> bool(check_gradients(Scale(3), np.random.default_rng(0).standard_normal((5, 3))))
    True

    Attributes:
        backend: where its arrays live; change it with `to`.
        dtype: of its parameters; float32 unless `initialize` or `to` was given another.
        saved: what backward needs, or None.
        input_contract: what it was trained on, or None; see `InputContract`.
    """

    backend: Backend = CPU
    dtype: np.dtype[Any] = np.dtype(np.float32)
    saved: Any = None
    input_contract: InputContract | None = None
    _drawn = False  # whether all parameters have values, which they never lose again

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __str__(self) -> str:
        """A short name, for error messages."""
        return repr(self)

    @abstractmethod
    def forward(self, x: Array, *, train: bool = False) -> Array:
        """The layer's output for a batch `x`; with `train`, remember what `backward` needs."""

    @abstractmethod
    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Set the gradients of the parameters and return the gradient of the input.

        Args:
            dy: the gradient with respect to the output of the last ``forward(train=True)``.
            need_dx: False if the input's gradient is not needed; then None is returned.

        Raises:
            RuntimeError: if no ``forward(train=True)`` came before.
        """

    def named_children(self) -> Iterator[tuple[str, Layer]]:
        """The layers inside this one with their names: the attributes that are layers."""
        seen: set[int] = set()
        for name, value in vars(self).items():
            if isinstance(value, Layer) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def children(self) -> Iterator[Layer]:
        """The layers inside this one, in order."""
        return (child for _, child in self.named_children())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their paths, such as ``"2.weight"`` for layer 2 of a Sequential."""
        self._refuse_attributes()
        yield from ((k, v) for k, v in vars(self).items() if isinstance(v, Parameter))
        for name, child in self.named_children():
            yield from ((f"{name}.{path}", p) for path, p in child.named_parameters())

    def parameters(self) -> Iterator[Parameter]:
        """The parameters for an optimiser: this layer's own, then the children's."""
        return (p for _, p in self.named_parameters())

    def buffers(self) -> Iterator[Buffer]:
        """The arrays that are not trained: this layer's own, then the children's."""
        yield from self._own(Buffer)
        for child in self.children():
            yield from child.buffers()

    def named_quantized(self) -> Iterator[tuple[str, Parameter, Function]]:
        """The parameters that forward quantizes: path, parameter, quantizer.

        Override it in a layer of your own that quantizes a parameter, and yield these three. The
        number of bits follows from the quantizer's values.
        """
        for name, child in self.named_children():
            yield from ((f"{name}.{path}", p, f) for path, p, f in child.named_quantized())

    def own_parts(self) -> tuple[list[Parameter], list[Buffer]]:
        """This layer's parameters and buffers, without those of its children."""
        inside = {id(buffer) for child in self.children() for buffer in child.buffers()}
        buffers = [buffer for buffer in self.buffers() if id(buffer) not in inside]
        return list(self._own(Parameter)), buffers

    def _refuse_attributes(self) -> None:
        """Raise for parts in a list or dict, which training would silently leave out."""
        require_methods(self, "forward", "backward", "parameters", "buffers")
        if type(self).named_children is not Layer.named_children:
            return  # the layer names its children itself
        for name, value in vars(self).items():
            inside = value.values() if isinstance(value, dict) else value
            if isinstance(value, list | tuple | dict) and any(
                isinstance(v, Parameter | Buffer | Layer) for v in inside
            ):
                raise TypeError(
                    f"{self}: expected parameters, buffers and layers as attributes, got some in "
                    f"the {type(value).__name__} {name!r}; use an attribute for each, a "
                    "Sequential, or override named_children"
                )

    def _own(self, kind: type[_Kind]) -> Iterator[_Kind]:
        return (v for v in vars(self).values() if isinstance(v, kind))

    def initialize(self, rng: np.random.Generator | int, dtype: Any = None) -> Self:
        """Draw all starting values, layer by layer in order, and return the layer.

        Args:
            rng: a generator, or a seed for a new one. All values are drawn on the host, so that
                a seed gives the same network on every device.
            dtype: float32 (the default) or float64.
        """
        dtype = float_dtype(self.dtype if dtype is None else dtype)
        backend = self.backend
        self._initialize(generator("initialize", rng), dtype)
        return self.to(backend)

    def _initialize(self, rng: np.random.Generator, dtype: np.dtype[Any]) -> None:
        self.backend, self.dtype, self.saved = CPU, dtype, None
        self.input_contract = None  # the new values are untrained
        for parameter in self._own(Parameter):
            parameter.initialize(rng, dtype)
        for function in self._own(Function):
            function.initialize(rng)
        for stream in self._own(RandomStream):
            stream.initialize(rng)
        for child in self.children():
            child._initialize(rng, dtype)

    def to(self, device: str | Backend | None = None, dtype: Any = None) -> Self:
        """Move every parameter and buffer to a device or dtype, and return the layer.

        Make the optimiser after the move: it keeps the arrays it was made with.
        """
        backend = self.backend if device is None else get_backend(device)
        dtype = float_dtype(self.dtype if dtype is None else dtype)
        for parameter in self.parameters():
            parameter.to(backend, dtype)
        for buffer in self.buffers():
            buffer.to(backend, dtype)
        self._set_place(backend, dtype)
        return self

    def _set_place(self, backend: Backend, dtype: np.dtype[Any]) -> None:
        self.backend, self.dtype, self.saved = backend, dtype, None
        for child in self.children():
            child._set_place(backend, dtype)

    # Old names: what a layer costs is answered in `minibnn/inspection/costs.py`.
    macs = moved("macs", COSTS, gone_in="0.3")
    product_bits = moved("product_bits", COSTS, gone_in="0.3")
    output_bits = moved("output_bits", COSTS, gone_in="0.3")
    shipped_floats = moved("shipped_floats", COSTS, gone_in="0.3")

    def summary(self, input_shape: tuple[int, ...] | None = None) -> Summary:
        """Sizes and costs, layer by layer: print the result, or use its ``table``.

        Args:
            input_shape: of one sample, such as ``(28, 28)``; None if a layer fixes it.

        Raises:
            ValueError: if `input_shape` is None and no layer fixes the shape.

        >>> from minibnn import Dense, SignSTE
        >>> Dense(784, 10, weight_quantizer=SignSTE()).summary().bytes
        1020
        """
        from minibnn.inspection.summary import summarize

        return summarize(self, input_shape)

    def forget(self) -> None:
        """Drop what a training forward saved, if `backward` will not be called."""
        self.saved = None
        for child in self.children():
            child.forget()

    def note_input(self, x: Array) -> None:
        """Remember the dtype and shape of the training input; an earlier range no longer holds."""
        known, here = self.input_contract, (x.dtype, x.shape[1:])
        if known is None or known.low is not None or (known.dtype, known.shape) != here:
            self.set_input_contract(InputContract(*here, source="a training step"))

    def set_input_contract(self, contract: InputContract) -> None:
        """Remember the training input; containers tell the layers that get the same input."""
        self.input_contract = contract

    def check_input(self, x: Array, features: int | None = None) -> None:
        """Raise if parameters have no values, or if `x` has a wrong device, dtype or last axis.

        Args:
            x: the argument of `forward`.
            features: the required size of the last axis; None for any.
        """
        if not self._drawn:
            if any(parameter.data is None for parameter in self._own(Parameter)):
                raise RuntimeError(
                    f"{self}: expected weights, but none have been drawn; "
                    "call model.initialize(rng) first"
                )
            self._drawn = True
        if type(x) is not self.backend.array_type:
            require_device(self, self.backend, x, "x")
        if x.dtype != self.dtype:
            raise wrong_dtype(self, x, self.dtype)
        if features is not None and (x.ndim < 2 or x.shape[-1] != features):
            raise wrong_features(self, x, features)

    def take_saved(self, dy: Array) -> Any:
        """Check `dy`, then return and release what forward saved.

        `saved` is a tuple: the shape of the output, then the values that this returns as a list.

        Raises:
            RuntimeError: if no ``forward(train=True)`` came since the last backward.
            ValueError: if `dy` does not have the output's shape.
            TypeError: if `dy` has another dtype or device, or `saved` is no such tuple.
        """
        if type(dy) is not self.backend.array_type:
            require_device(self, self.backend, dy, "dy")
        saved = self.saved
        if saved is None:
            raise RuntimeError(
                f"{self}: backward needs a forward(x, train=True) before it, one for each"
            )
        if not (isinstance(saved, tuple | list) and saved and isinstance(saved[0], tuple)):
            raise wrong_saved(self, saved)
        shape, *saved = saved
        if dy.shape != shape:
            raise ValueError(f"{self}: expected dy of shape {shape}, got {dy.shape}")
        if dy.dtype != self.dtype:
            raise TypeError(f"{self}: expected dy of dtype {self.dtype}, got {dy.dtype}")
        self.saved, Backwards.last = None, next(Backwards.clock)
        return saved
