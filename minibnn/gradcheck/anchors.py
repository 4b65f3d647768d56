"""Anchors: they replace functions, random streams and products while gradients are checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.backend import Array, Backend
from minibnn.feedback import Feedback, Transpose
from minibnn.functions import Function
from minibnn.gradcheck.zero import check_zero
from minibnn.layers import DirectFeedback, Layer, MaxPool2D
from minibnn.random_stream import RandomStream

NUDGE = 1e-2  # relative, so that zeros and signs are kept


class Anchor:
    """Replaces a part of a layer during the check, and keeps its value where the check began.

    Its calls are numbered within a forward pass, so one function may be used several times. It
    returns copies, which the layer may change in place.
    """

    def __init__(self) -> None:
        self.points: list[Any] = []
        self.calls = 0
        self.frozen = False
        self.backward_time = False

    def freeze(self) -> None:
        """Stay at the points seen so far from now on; the backward pass comes next."""
        self.frozen = self.backward_time = True

    def restart(self) -> None:
        """Begin a new forward pass."""
        self.calls = 0
        self.backward_time = False

    def at(self, make: Callable[[], Any]) -> Any:
        """Return the point of this call: a new one until frozen, then the same in every pass."""
        if not self.frozen:
            self.points.append(make())
            return self.points[-1]
        self.calls += 1
        return self.points[(self.calls - 1) % len(self.points)]


@dataclass
class _Point:
    """One call of a function when the check began.

    Attributes:
        x: the argument.
        value: the function's value.
        y: the value used in the check: the same, or moved a little.
        dy: the gradient from backward, None before.
    """

    x: Array
    value: Array
    y: Array
    dy: Array = None


class _AnchoredFunction(Anchor, Function):
    """``surrogate(x) + (forward(x0) - surrogate(x0))``."""

    def __init__(self, function: Function, layer: Layer, nudge: np.random.Generator | None) -> None:
        super().__init__()
        self.function = function
        self.layer = layer
        self.nudge = nudge

    @property
    def bits(self) -> int:  # type: ignore[override]
        return self.function.bits

    def __repr__(self) -> str:
        return repr(self.function)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)  # other attributes of the function, such as its clip

    def freeze(self) -> None:
        super().freeze()
        if self.points:
            check_zero(self.layer, self.function, self.points[0].x)

    def train_forward(self, x: Array) -> Array:
        return self._value(self.function.train_forward, x)

    def forward(self, x: Array) -> Array:  # for users' layers that call only forward
        return self._value(self.function.forward, x)

    def _value(self, function: Callable[[Array], Array], x: Array) -> Array:
        if self.backward_time:  # backward may recompute what forward did not save
            value = function(x)
            for point in self.points:
                if np.array_equal(point.x, x) and np.array_equal(point.value, value):
                    return point.y.copy()
            return value
        point = self.at(lambda: self._point(x.copy(), np.array(function(x))))
        if not self.frozen:
            return point.y.copy()
        # Without a dy, no gradient came here, as below the first parameters: any slope will do.
        dy = np.zeros_like(point.y) if point.dy is None else point.dy
        surrogate = self.function.surrogate_at(point.x, dy)
        return point.y + (surrogate(x) - surrogate(point.x))  # exactly y at x0

    def _point(self, x: Array, value: Array) -> _Point:
        if self.nudge is None:
            return _Point(x, value, value)
        return _Point(x, value, value * (1 + NUDGE * self.nudge.standard_normal(value.shape)))

    def backward(self, dy: Array, x: Array) -> Array:
        # A function may be used several times; for equal arguments the last call comes first.
        for point in reversed(self.points):
            if point.dy is None and np.array_equal(point.x, x):
                point.dy = dy.copy()
                break
        return self.function.backward(dy, x)


class _AnchoredStream(Anchor, RandomStream):
    """The same numbers in every pass."""

    def __init__(self, stream: RandomStream) -> None:
        super().__init__()
        self.stream, self.seed = stream, stream.seed

    @property
    def count(self) -> int:
        return self.stream.count

    @count.setter
    def count(self, count: int) -> None:
        self.stream.count = count

    def uniform(self, backend: Backend, shape: tuple[int, ...], dtype: Any) -> Array:
        if self.backward_time:
            return self.stream.uniform(backend, shape, dtype)  # which raises ValueError
        if self.frozen:
            self.stream.count += 1  # as if it had drawn, for layers that reset the count
        return self.at(lambda: self.stream.uniform(backend, shape, dtype)).copy()


class _AnchoredProduct(Anchor):
    """``p(x0, W) + p(x, B) - p(x0, B)`` in the place of a layer's ``p(x, W)``, such as ``x W``."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.product = layer.product
        self.feedback = layer.feedback

    def __call__(self, x: Array, W: Array) -> Array:
        x0, B = self.at(lambda: (x.copy(), self.feedback.backward_weights(W)))
        z = self.product(x0, W)
        return z if B is None else z + (self.product(x, B) - self.product(x0, B))


class _AnchoredMaxima(Anchor):
    """The values at the positions of the maxima when the check began.

    Sums of signs are whole numbers, so windows with equal maxima are common in a binary network.
    There the maximum has a kink, and its gradient goes to one of them: the one at this position.
    """

    def __init__(self, layer: MaxPool2D) -> None:
        super().__init__()
        self.maxima, self.windows = layer.maxima, layer.windows

    def __call__(self, x: Array, with_positions: bool) -> tuple[Array, Array | None]:
        if not self.frozen:
            y, position = self.maxima(x, True)
            self.at(lambda: position)
            return y, position
        position = self.at(list)
        positions = self.windows.positions(self.windows.counts(x.shape))
        seen = (x[:, rows, columns] for _, _, rows, columns in positions)
        return sum(x_ij * (position == k) for k, x_ij in enumerate(seen)), position


class _AnchoredBlocks(Anchor):
    """The outputs of blocks trained by direct feedback, each at its first input."""

    def __init__(self, layer: DirectFeedback) -> None:
        super().__init__()
        self.layer = layer
        self.outputs = layer.outputs

    def __call__(self, x: Array, train: bool) -> list[Array]:
        if not self.frozen:
            outputs = self.outputs(x, train)
            self.at(lambda: [h.copy() for h in outputs])
            return outputs
        before: list[Array] = self.at(list)
        inputs = [x, *before[:-1]]
        pairs = zip(self.layer, inputs, strict=True)
        *hidden, y = [block.forward(x, train=train) for block, x in pairs]
        for h, h0, B in zip(hidden, before, self.layer.feedback_weights, strict=False):
            y = y + ((h - h0).reshape(len(h), -1) @ B.data).reshape(y.shape)
        return [*hidden, y]


def anchor(layer: Layer, nudge: np.random.Generator | None = None) -> Iterator[Anchor]:
    """Anchor the functions, random streams, maxima and feedback products of a layer.

    An anchored part keeps its value at the point where the check begins. Around this point it has
    the slope that backward uses. The parts of the children are anchored too.

    Args:
        layer: changed in place.
        nudge: a generator of small random changes of all function values, so that no two are equal;
            None changes none.
    """
    for name, value in list(vars(layer).items()):
        if isinstance(value, Function) and not isinstance(value, Anchor):
            function = _AnchoredFunction(value, layer, nudge)
            setattr(layer, name, function)
            yield function
        if isinstance(value, RandomStream):
            stream = _AnchoredStream(value)
            setattr(layer, name, stream)
            yield stream
    # Only Transpose itself is known to be the derivative; what derives from it may be anything.
    feedback = getattr(layer, "feedback", None)
    if isinstance(feedback, Feedback) and type(feedback) is not Transpose:
        if not hasattr(layer, "product"):
            raise TypeError(
                f"check_gradients: {layer}: expected a method product(x, W) in a layer with "
                "feedback, got none; define it and let forward call self.product(x, W)"
            )
        product = _AnchoredProduct(layer)
        layer.product = product
        yield product
    if isinstance(layer, MaxPool2D):
        maxima = _AnchoredMaxima(layer)
        layer.maxima = maxima  # type: ignore[method-assign]
        yield maxima
    if isinstance(layer, DirectFeedback):
        blocks = _AnchoredBlocks(layer)
        layer.outputs = blocks  # type: ignore[method-assign]
        yield blocks
    for child in layer.children():
        yield from anchor(child, nudge)
