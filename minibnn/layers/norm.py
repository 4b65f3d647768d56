"""Batch normalisation: for each channel, or for the whole tensor at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minibnn.backend import Array
from minibnn.checks import integer, number
from minibnn.layers.base import Layer
from minibnn.parameter import Buffer, Fill, Parameter


class Normalization(Layer):
    """What layers that normalise over the batch have in common: their arrays, not their equations.

    Attributes:
        channels: how many means and variances there are.
        momentum: how much of the running statistics each batch keeps.
        epsilon: added to the variance.
        running_mean: of the batches seen in training, for evaluation.
        running_var: likewise.
    """

    def __init__(self, channels: int, *, momentum: float, epsilon: float) -> None:
        who = type(self).__name__
        self.channels = integer(who, "channels", channels)
        self.momentum = number(who, "momentum", momentum)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"{who}: expected momentum in [0, 1), got {momentum}")
        self.epsilon = number(who, "epsilon", epsilon)
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"{who}: expected a positive epsilon, got {epsilon}")
        self.running_mean = Buffer("running_mean")
        self.running_var = Buffer("running_var")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.channels})"

    def shipped_floats(self) -> int:
        """Two for each channel: in evaluation all its arrays fold into ``y = a x + c``."""
        return 2 * self.channels

    def _initialize(self, rng: np.random.Generator, dtype: np.dtype[Any]) -> None:
        super()._initialize(rng, dtype)
        self.running_mean.data = np.zeros(self.channels, dtype)
        self.running_var.data = np.ones(self.channels, dtype)

    def check_input(self, x: Array, features: int | None = None) -> None:
        """As in every layer; images keep their shape, so only the last axis has to fit."""
        super().check_input(x)
        if features is not None and (x.ndim < 2 or x.shape[-1] != features):
            raise ValueError(f"{self}: expected x of shape (batch, ..., {features}), got {x.shape}")

    def _values_a_channel(self, x: Array) -> int:
        """How many values a training batch has for each channel, which must be two or more."""
        n: int = x.size // self.channels
        if n < 2:
            raise ValueError(
                f"{self}: expected at least 2 values a channel in a training batch, got {n}; "
                "use another batch size, or drop_last=True"
            )
        return n

    def _rows(self, a: Array) -> Array:
        """A batch with each sample as one row: arithmetic is fast on rows that are long."""
        return a if a.ndim == 2 else a.reshape(len(a), math.prod(a.shape[1:]))

    def _spread(self, v: Array, rows: Array) -> Array:
        """One value for each channel, repeated along a row; ready to meet `rows`."""
        return self.backend.spread(v, rows.shape[1])

    def _update_running(self, mean: Array, var: Array, unbias: float = 1.0) -> None:
        """Mix a batch's statistics into the running ones, unless one of them is not finite."""
        running = self.running_mean.data, self.running_var.data
        with self.backend.aside(mean, var):  # only evaluation will look at them
            self.backend.update_running(*running, mean, var, self.momentum, unbias)


class BatchNorm(Normalization):
    """Normalise each channel over the batch, then scale and shift it.

    .. code-block:: text

        training     mu  = mean of x,  var = mean of (x - mu)^2     over all axes but the last
                     x^  = (x - mu) / sqrt(var + epsilon)
                     y   = gamma x^ + beta
                     running <- momentum running + (1 - momentum) batch's   for mean and variance
        evaluation   the same with the running mean and variance
        backward     dbeta  = sum dy
                     dgamma = sum dy x^
                     dx     = gamma / sqrt(var + epsilon) (dy - dbeta / n - x^ dgamma / n)

    The running variance takes in the unbiased estimate, ``var n / (n - 1)``, with n the number
    of values a channel has in the batch. A batch whose mean or variance is not finite leaves the
    running statistics as they were, so that one bad batch cannot spoil evaluation.

    Shapes: x and y (batch, ..., channels); gamma, beta and the statistics (channels,).

    Args:
        channels: size of the last axis.
        momentum: how much of the running statistics each batch keeps, in [0, 1).
        epsilon: added to the variance, positive.
        scale: whether there is a gamma; without, it is 1. A sign after the layer needs
            none, since beta alone moves its threshold.

    Raises:
        ValueError: from `forward` in training, for a batch with one value a channel: it has no
            variance.

    Reference: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2, section 3.
    """

    def __init__(
        self, channels: int, *, momentum: float = 0.9, epsilon: float = 1e-5, scale: bool = True
    ) -> None:
        super().__init__(channels, momentum=momentum, epsilon=epsilon)
        self.gamma = Parameter("gamma", (self.channels,), Fill(1.0)) if scale else None
        self.beta = Parameter("beta", (self.channels,), Fill(0.0))

    def __repr__(self) -> str:
        return f"BatchNorm({self.channels}" + (", scale=False)" if self.gamma is None else ")")

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``gamma x^ + beta``, with the batch's statistics in training, else the running ones."""
        self.check_input(x, self.channels)
        rows = self._rows(x)
        if not train:
            gamma = 1 if self.gamma is None else self.gamma.data
            scale = gamma / self.backend.xp.sqrt(self.running_var.data + self.epsilon)
            y = self.backend.normalize(rows, self.running_mean.data, scale, self.beta.data)
            return y if rows is x else y.reshape(x.shape)

        n = self._values_a_channel(x)
        gamma = None if self.gamma is None else self.gamma.data
        y, standard, mean, var, inv_std = self.backend.batch_norm(
            rows, gamma, self.beta.data, self.epsilon
        )
        self._update_running(mean, var, n / (n - 1))
        self.saved = (x.shape, standard, inv_std)
        return y.reshape(x.shape)

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Set dgamma and dbeta; return dx."""
        standard, inv_std = self.take_saved(dy)
        gamma, dgamma = (None, None) if self.gamma is None else (self.gamma.data, self.gamma.grad)
        dx = self.backend.batch_norm_gradient(
            self._rows(dy), standard, inv_std, gamma, self.beta.grad, dgamma, need_dx=need_dx
        )
        return None if dx is None else dx.reshape(dy.shape)


class TensorNorm(BatchNorm):
    """Batch normalisation with one mean, variance, gamma and beta for the whole tensor.

    The equations are those of `BatchNorm`, with means and sums over all axes: the tensor is one
    channel. After the last layer of a network it scales all classes alike: as long as gamma is
    positive it does not change which class is largest.

    Shapes: x and y (batch, ...); gamma, beta and the statistics (1,).

    Args:
        momentum: how much of the running statistics each batch keeps, in [0, 1).
        epsilon: added to the variance, positive.

    Reference: the output layer of the binary MNIST networks that ship with Xilinx Brevitas (its
    ``bnn_pynq`` examples, for FINN), which has these defaults.

    >>> import numpy as np
    >>> layer = TensorNorm().initialize(0)
    >>> layer.forward(np.array([[1, 3], [3, 1]], dtype=np.float32), train=True).round(3)
    array([[-1.,  1.],
           [ 1., -1.]], dtype=float32)
    """

    def __init__(self, *, momentum: float = 0.9, epsilon: float = 1e-4) -> None:
        super().__init__(1, momentum=momentum, epsilon=epsilon)

    def __repr__(self) -> str:
        return "TensorNorm()"

    def check_input(self, x: Array, features: int | None = None) -> None:
        """As in every layer, for a last axis of any size."""
        super().check_input(x)
