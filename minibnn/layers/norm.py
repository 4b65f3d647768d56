"""Batch normalisation: for each channel, or for the whole tensor at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minibnn.backend import Array, backend_of, batch_mean, batch_sum, over_whole_batch
from minibnn.checks import integer, number
from minibnn.initializers import Fill
from minibnn.layers.base import Layer
from minibnn.layers.input_errors import wrong_batch
from minibnn.parameter import Buffer, Parameter


def batch_norm(
    x: Array, gamma: Array | int, beta: Array, epsilon: float
) -> tuple[Array, Array, Array, Array, Array]:
    """Each channel with mean 0 and variance 1 over the batch and the positions, then rescaled.

    .. equations::

        mean    = mean of x                     over all axes but the last
        var     = mean of (x - mean)^2
        inv_std = 1 / sqrt(var + epsilon)
        x_hat   = (x - mean) inv_std
        y       = gamma x_hat + beta

    Shapes: x, x_hat and y (batch, ..., channels); all others (channels,).

    Args:
        x: the batch.
        gamma: the scale, or 1 for none.
        beta: the shift.
        epsilon: added to the variance.

    Returns:
        y, x_hat, mean, var and inv_std.
    """
    mean = batch_mean(x)
    centered = x - mean
    var = batch_mean(centered * centered)
    # 1 / sqrt(v) as sqrt(v) / v: if v overflows, inf / inf is nan, which shows in the loss; 1 / inf
    # would silently give zeros.
    inv_std = backend_of(x).xp.sqrt(var + epsilon) / (var + epsilon)
    x_hat = centered * inv_std
    y = gamma * x_hat + beta
    return y, x_hat, mean, var, inv_std


def batch_norm_gradient(
    dy: Array,
    x_hat: Array,
    inv_std: Array,
    gamma: Array | int,
    dgamma: Array | None,
    dbeta: Array,
    need_dx: bool,
) -> Array | None:
    """The gradients of `batch_norm`; mean and variance depend on x as well.

    .. equations::

        dbeta  = sum of dy                      over all axes but the last
        dgamma = sum of dy x_hat
        dx     = gamma inv_std (dy - x_hat dgamma / n - dbeta / n)

    n is the number of values that a channel has in the batch. Of a batch in parts, dbeta and dgamma
    are those of this part, and dx has the sums over all parts in their place.

    Shapes: dy, x_hat and dx (batch, ..., channels); all others (channels,).

    Args:
        dy: the gradient of y.
        x_hat: as `batch_norm` returned it.
        inv_std: likewise.
        gamma: the scale, or 1 for none.
        dgamma: is overwritten; None if it is not needed.
        dbeta: is overwritten.
        need_dx: whether dx is needed; otherwise None is returned.
    """
    dbeta = batch_sum(dy, out=dbeta)
    dgamma = batch_sum(dy * x_hat, out=dgamma)
    if not need_dx:
        return None
    n, dgamma, dbeta = over_whole_batch(math.prod(dy.shape[:-1]), dgamma, dbeta)
    # The dx above, multiplied out: products of (channels,) arrays first, to save passes over dy.
    scale = gamma * inv_std
    return scale * dy - (scale * dgamma / n) * x_hat - scale * dbeta / n


def normalize(x: Array, mean: Array, scale: Array, shift: Array) -> Array:
    """``y = (x - mean) scale + shift`` for each channel: batch norm in evaluation.

    Shapes: x and y (batch, ..., channels); mean, scale and shift (channels,).
    """
    return (x - mean) * scale + shift


def update_running(
    running_mean: Array,
    running_var: Array,
    mean: Array,
    var: Array,
    momentum: float,
    variance_factor: float,
) -> None:
    """Mix a batch's statistics into the running ones, in place.

    .. equations::

        running_mean <- momentum running_mean + (1 - momentum) mean
        running_var  <- momentum running_var  + (1 - momentum) variance_factor var

    If a statistic of the batch is not finite in any channel, nothing changes.

    Shapes: all (channels,).

    Args:
        running_mean: is overwritten.
        running_var: is overwritten.
        mean: of the batch.
        var: of the batch.
        momentum: how much of the running statistics stays.
        variance_factor: n / (n - 1) for the unbiased estimate, 1 for the batch's own variance.
    """
    xp = backend_of(mean).xp
    var = variance_factor * var
    all_finite = xp.isfinite(mean + var).all()
    for running, batch in ((running_mean, mean), (running_var, var)):
        xp.copyto(running, momentum * running + (1 - momentum) * batch, where=all_finite)


class Normalization(Layer):
    """The arrays and settings of layers that normalise over the batch.

    Attributes:
        channels: how many means and variances there are.
        momentum: how much of the running statistics each batch keeps.
        epsilon: added to the variance.
        running_mean: of the batches in training; evaluation uses it.
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

    def _initialize(self, rng: np.random.Generator, dtype: np.dtype[Any]) -> None:
        super()._initialize(rng, dtype)
        self.running_mean.data = np.zeros(self.channels, dtype)
        self.running_var.data = np.ones(self.channels, dtype)


class BatchNorm(Normalization):
    """Normalise each channel over the batch, then scale and shift it.

    .. equations::

        training     mean  = mean of x,  var = mean of (x - mean)^2     over all axes but the last
                     x_hat = (x - mean) / sqrt(var + epsilon)
                     y     = gamma x_hat + beta
                     running <- momentum running + (1 - momentum) batch's   for mean and variance
        evaluation   the same with the running mean and variance
        backward     dbeta  = sum dy
                     dgamma = sum dy x_hat
                     dx     = gamma / sqrt(var + epsilon) (dy - x_hat dgamma / n - dbeta / n)

    The running variance uses the unbiased estimate, ``var n / (n - 1)``, where n is the number of
    values per channel in the batch. A batch whose mean or variance is not finite leaves the
    running statistics unchanged, so that one bad batch cannot spoil evaluation.

    Shapes: x and y (batch, ..., channels); gamma, beta and the statistics (channels,).

    Args:
        channels: size of the last axis.
        momentum: how much of the running statistics each batch keeps, in [0, 1).
        epsilon: added to the variance, positive.
        scale: whether there is a gamma; without it, gamma is 1. Before a sign no gamma is
            needed, since beta alone moves the threshold.

    Raises:
        ValueError: from `forward` in training, for a batch with one value per channel, which has no
            variance.

    Reference: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2, section 3.
    """

    def __init__(
        self, channels: int, *, momentum: float = 0.9, epsilon: float = 1e-5, scale: bool = True
    ) -> None:
        super().__init__(channels, momentum=momentum, epsilon=epsilon)
        self.gamma = Parameter("gamma", (self.channels,), Fill(1.0)) if scale else None
        self.beta = Parameter("beta", (self.channels,), Fill(0.0))

    def arguments(self) -> dict[str, bool]:
        """The constructor's argument that is no attribute; see `minibnn.description`."""
        return {"scale": self.gamma is not None}

    def __repr__(self) -> str:
        return f"BatchNorm({self.channels}" + (", scale=False)" if self.gamma is None else ")")

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``gamma x_hat + beta``, by the batch's statistics in training, else the running ones."""
        self.check_input(x)
        (n,) = over_whole_batch(x.size // self.channels)  # of each channel
        if x.ndim < 2 or x.shape[-1] != self.channels or (train and n < 2):
            raise wrong_batch(self, x, self.channels)
        gamma = 1 if self.gamma is None else self.gamma.data
        if not train:
            scale = gamma / self.backend.xp.sqrt(self.running_var.data + self.epsilon)
            return self.backend.run(normalize, x, self.running_mean.data, scale, self.beta.data)

        y, x_hat, mean, var, inv_std = self.backend.run(
            batch_norm, x, gamma, self.beta.data, self.epsilon
        )
        running = self.running_mean.data, self.running_var.data
        self.backend.run(update_running, *running, mean, var, self.momentum, n / (n - 1))
        self.saved = (y.shape, x_hat, inv_std)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Set dgamma and dbeta; return dx."""
        x_hat, inv_std = self.take_saved(dy)
        gamma, dgamma = (1, None) if self.gamma is None else (self.gamma.data, self.gamma.grad)
        shape, dy = dy.shape, dy.reshape(x_hat.shape)  # x_hat of `TensorNorm` has one more axis
        dx = self.backend.run(
            batch_norm_gradient, dy, x_hat, inv_std, gamma, dgamma, self.beta.grad, need_dx
        )
        return dx.reshape(shape) if need_dx else None


class TensorNorm(BatchNorm):
    """Batch normalisation with one mean, variance, gamma and beta for the whole tensor.

    The equations are those of `BatchNorm`, with means and sums over all axes: the tensor counts as
    one channel. After the last layer of a network it scales all classes equally, so with a
    positive gamma it does not change which class is largest.

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

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``gamma x_hat + beta``, as if `x` had one more axis with a single channel."""
        self.check_input(x)
        y = super().forward(x[..., None], train=train).reshape(x.shape)
        if train:
            self.saved = (x.shape, *self.saved[1:])
        return y
