"""Layers whose numbers come from the training data, before training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.checks import integer
from minibnn.layers.base import Layer
from minibnn.layers.input_errors import wrong_features
from minibnn.layers.sequential import Sequential
from minibnn.parameter import Buffer

SAMPLES = 2**16  # to fit to: enough for quantiles, and a bound on memory


class Fitted(Layer):
    """A layer whose numbers are fitted to the training data instead of learnt.

    `minibnn.fit` fits them to its training samples before the first step, if they have no values;
    `fit` and `fit_codes` do it elsewhere. They belong to the layer's state, so they are saved and
    resumed. `initialize` keeps them: they are not random.

    Args:
        features: size of the last axis.
        columns: how many numbers each feature has, for each buffer by name; 0 for a single one.
    """

    def __init__(self, features: int, **columns: int) -> None:
        self.features = integer(type(self).__name__, "features", features, least=1)
        for name, count in columns.items():
            buffer = Buffer(name)
            shape = (self.features, count) if count else (self.features,)
            buffer.data = np.full(shape, np.nan, np.float32)
            setattr(self, name, buffer)
        self._is_fitted = False

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_is_fitted": False}  # it is looked up again

    @abstractmethod
    def numbers(self, x: np.ndarray[Any, Any]) -> dict[str, Any]:
        """The values of its buffers by name, from samples (n, features) on the host.

        `x` is float64 and may have nan, but no column of nothing else.
        """

    def fit(self, x: Array) -> Self:
        """Take the numbers from samples, and return the layer.

        Missing values (nan) are left out, and numbers beyond the layer's dtype count as infinite.
        Of more than 65,536 samples, at most so many are taken, at equal distances.

        Shapes: x (batch, ..., features), of integers or floats, on any device.

        Raises:
            ValueError: for another number of features, for no samples, and for a feature of nan
                only.
            TypeError: for an `x` that is no array of numbers.
        """
        backend = backend_of(x)
        if x.dtype.kind not in "iufb":
            raise TypeError(f"{self}: expected numbers to fit to, got {x.dtype}")
        if x.ndim < 2 or x.shape[-1] != self.features:
            raise wrong_features(self, x, self.features)
        if not x.size:
            raise ValueError(f"{self}: expected samples to fit to, got none")
        rows = backend.to_host(_some(x)).reshape(-1, self.features).astype(np.float64)
        empty = np.flatnonzero(np.isnan(rows).all(axis=0))
        if len(empty):
            raise ValueError(
                f"{self}: expected numbers in each feature, got only nan in feature {empty[0]}; "
                "leave it out"
            )
        beyond = abs(rows) > float(np.finfo(self.dtype).max)
        rows = np.where(beyond, np.copysign(np.inf, rows), rows)
        for name, values in self.numbers(rows).items():
            getattr(self, name).data = self.backend.asarray(np.asarray(values, self.dtype))
        return self

    @property
    def fitted(self) -> bool:
        """Whether it has been fitted. The answer waits for a device until it is True once."""
        if not self._is_fitted:
            first = next(iter(self._own(Buffer))).data
            self._is_fitted = not bool(np.isnan(backend_of(first).to_host(first)).all())
        return self._is_fitted

    def check_fitted(self, x: Array) -> None:
        """Raise unless it is fitted, and `x` has its device, features, and integers or its dtype.

        Raises:
            RuntimeError: before `fit`.
            TypeError: for another device or dtype.
            ValueError: for other features.
        """
        if not self.fitted:
            raise RuntimeError(
                f"{self}: expected it to be fitted to the training data; call fit_codes(model, x) "
                "first; fit does, with a DataLoader"
            )
        backend_of(x)
        if x.dtype.kind not in "iub":
            self.check_input(x, self.features)
        elif x.ndim < 2 or x.shape[-1] != self.features:
            raise wrong_features(self, x, self.features)


class InputCode(Fitted):
    """A code: each feature becomes several signs.

    .. equations::

        y[..., f B + k] = +1 where low[f, k] <= x[..., f] <= high[f, k], else -1

    B is the number of signs for a feature. A missing value (nan) becomes -1 everywhere. The
    derivative is 0 almost everywhere, so backward returns zeros.
    """

    @property
    @abstractmethod
    def signs(self) -> int:
        """How many signs a feature becomes: B."""

    def output_bits(self, x_bits: int) -> int:
        """One; see `minibnn.inspection.costs`."""
        return 1

    @abstractmethod
    def intervals(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Low and high (features, B) on the host, in the layer's dtype."""

    def coded(self, x: Array, bits: Array, train: bool) -> Array:
        """The signs of comparisons (batch, ..., features, B), and what `no_gradient` needs."""
        y = self.backend.xp.where(bits, self.dtype.type(1), self.dtype.type(-1))
        y = y.reshape(*x.shape[:-1], self.features * self.signs)
        if train:
            self.note_input(x)
            self.saved = (y.shape, x.shape)
        return y

    def no_gradient(self, dy: Array, need_dx: bool) -> Array | None:
        """Zeros in the shape of x."""
        (shape,) = self.take_saved(dy)
        return self.backend.xp.zeros(shape, self.dtype) if need_dx else None


def fit_codes(model: Layer, x: Array) -> None:
    """Fit every layer of a model that is not fitted yet: see `Fitted`.

    Samples go through the layers in front of it as they are, in evaluation mode.

    Args:
        model: with codes in a `Sequential`, or a code itself.
        x: the training samples (batch, ...), no others: the validation data must not be among them.

    Raises:
        ValueError: for a layer in another container; and as from `Fitted.fit`.

    >>> from minibnn import Dense, Sequential, Thermometer
    >>> model = Sequential(Thermometer(1, 3), Dense(3, 2)).initialize(0)
    >>> fit_codes(model, np.array([[0.0], [1], [2], [3], [4]], np.float32))
    >>> model[0].forward(np.array([[2.5]], np.float32))
    array([[ 1.,  1., -1.]], dtype=float32)
    """
    order = list(_layers(model))
    waiting = [layer for layer in _inside(model) if isinstance(layer, Fitted) and not layer.fitted]
    for code in waiting:
        if code not in order:
            raise ValueError(
                f"fit_codes: expected {code} in a Sequential, got it in another container; fit it "
                "to its own inputs: layer.fit(x)"
            )
    if not waiting:
        return
    x = _some(x)
    for layer in order:
        if layer in waiting and isinstance(layer, Fitted):
            layer.fit(x)
            if layer is waiting[-1]:
                return
        x = layer.forward(x)


def _layers(model: Layer) -> Iterator[Layer]:
    """The layers in the order of evaluation, inside `Sequential`."""
    if isinstance(model, Sequential):
        for child in model:
            yield from _layers(child)
    else:
        yield model


def _inside(layer: Layer) -> Iterator[Layer]:
    """A layer and all layers in it, inside any container."""
    yield layer
    for child in layer.children():
        yield from _inside(child)


def _some(x: Array) -> Array:
    """Not more than `SAMPLES` samples, at equal distances."""
    return x if len(x) <= SAMPLES else x[:: -(-len(x) // SAMPLES)]
