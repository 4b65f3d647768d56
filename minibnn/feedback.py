"""How an error travels back through a layer's weights.

A linear layer computes ``z = x W``. Backpropagation sends the error through the same weights,
``dx = dz W.T``. A `Feedback` object may choose others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from minibnn.backend import CPU, Array
from minibnn.initializers import GlorotUniform, Initializer
from minibnn.parameter import Buffer
from minibnn.state import Stateful


class Feedback(Stateful, ABC):
    """Which weights the error travels back through: ``dx = dz B.T``."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def backward_weights(self, W: Array) -> Array | None:
        """The matrix B, given the quantized weights of the forward pass.

        Shapes: B as W, (in_features, out_features). None stands for all zeros and is cheaper.
        """

    def initialize(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any) -> None:
        """Draw the fixed matrices, if there are any; nothing by default."""

    def buffers(self) -> Iterator[Buffer]:
        """The arrays that move with the layer and are saved with it; none by default."""
        return iter(())


class Transpose(Feedback):
    """Backpropagation: ``B = W``, so ``dx = dz W.T``, the true gradient."""

    def backward_weights(self, W: Array) -> Array:
        """`W` itself."""
        return W


class FixedFeedback(Feedback):
    """Feedback alignment: B is drawn once at random and never learns.

    During training the forward weights align with B, so that the error still points downhill.
    Each layer needs its own object, since each has its own B.

    Args:
        initializer: draws B.

    Reference: Lillicrap et al. 2016, "Random synaptic feedback weights support error
    backpropagation for deep learning", Nature Communications 7, 13276 (arXiv:1411.0247).
    """

    def __init__(self, initializer: Initializer | None = None) -> None:
        self.initializer = GlorotUniform() if initializer is None else initializer
        self.weights = Buffer("feedback", ships=False)

    def backward_weights(self, W: Array) -> Array:
        """The fixed matrix, whatever `W` is."""
        return self.weights.data

    def initialize(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any) -> None:
        """Draw B."""
        self.weights.data = CPU.asarray(self.initializer(shape, rng), dtype)

    def buffers(self) -> Iterator[Buffer]:
        """The matrix B."""
        yield self.weights


class Blocked(Feedback):
    """No error travels back: ``dx = 0``. The layers below are not trained."""

    def backward_weights(self, W: Array) -> None:
        """None, for zeros."""
        return
