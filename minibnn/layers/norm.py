"""Batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.backend import Array
from minibnn.layers.base import Layer
from minibnn.parameter import Buffer, Fill, Parameter


class BatchNorm(Layer):
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

    Raises:
        ValueError: from `forward` in training, for a batch with one value a channel: it has no
            variance.

    Reference: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2, section 3.
    """

    def __init__(self, channels: int, *, momentum: float = 0.9, epsilon: float = 1e-5) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"BatchNorm: expected momentum in [0, 1), got {momentum}")
        if not epsilon > 0:
            raise ValueError(f"BatchNorm: expected a positive epsilon, got {epsilon}")
        self.channels = channels
        self.momentum = momentum
        self.epsilon = epsilon
        self.gamma = Parameter("gamma", (channels,), Fill(1.0))
        self.beta = Parameter("beta", (channels,), Fill(0.0))
        self.running_mean = Buffer("running_mean")
        self.running_var = Buffer("running_var")

    def __repr__(self) -> str:
        return f"BatchNorm({self.channels})"

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``gamma x^ + beta``, with the batch's statistics in training, else the running ones."""
        self.check_input(x, self.channels)
        xp = self.backend.xp
        if not train:
            scale = self.gamma.data / xp.sqrt(self.running_var.data + self.epsilon)
            y = x - self.running_mean.data
            y *= scale
            y += self.beta.data
            return y

        axes = tuple(range(x.ndim - 1))
        n = x.size // self.channels
        if n < 2:
            raise ValueError(
                f"{self}: expected at least 2 values a channel in a training batch, got {n}; "
                "use another batch size, or drop_last=True"
            )
        mean = x.mean(axis=axes)
        x_hat = x - mean
        var = (x_hat * x_hat).mean(axis=axes)
        # As 1 / sqrt(var + epsilon), but if var overflowed this is inf / inf, and nan shows in the
        # loss where 1 / inf would quietly turn the layer off.
        inv_std = xp.sqrt(var + self.epsilon) / (var + self.epsilon)
        x_hat *= inv_std
        y = self.gamma.data * x_hat
        y += self.beta.data
        self._update_running(mean, var * (n / (n - 1)))
        self.saved = (y.shape, x_hat, inv_std)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Set dgamma and dbeta; return dx."""
        x_hat, inv_std = self.take_saved(dy)
        axes = tuple(range(dy.ndim - 1))
        n = dy.size // self.channels
        dy.sum(axis=axes, out=self.beta.grad)
        (dy * x_hat).sum(axis=axes, out=self.gamma.grad)
        if not need_dx:
            return None
        dx = x_hat * (self.gamma.grad / -n)
        dx += dy
        dx -= self.beta.grad / n
        dx *= self.gamma.data * inv_std
        return dx

    def shipped_floats(self) -> int:
        """Two for each channel: in evaluation its arrays fold into ``y = a x + c``."""
        return 2 * self.beta.size

    def _initialize(self, rng: np.random.Generator, dtype: np.dtype[Any]) -> None:
        super()._initialize(rng, dtype)
        self.running_mean.data = np.zeros(self.channels, dtype)
        self.running_var.data = np.ones(self.channels, dtype)

    def _update_running(self, mean: Array, var: Array) -> None:
        xp = self.backend.xp
        finite = xp.isfinite(mean).all() & xp.isfinite(var).all()
        for running, batch in ((self.running_mean, mean), (self.running_var, var)):
            mixed = self.momentum * running.data + (1 - self.momentum) * batch
            running.data[...] = xp.where(finite, mixed, running.data)
