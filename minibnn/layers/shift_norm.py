"""Batch normalisation in which all products are bit shifts."""

from __future__ import annotations

from minibnn.backend import Array, backend_of, batch_mean, batch_sum, over_whole_batch
from minibnn.functions.power_of_two import PowerOfTwo
from minibnn.initializers import Fill
from minibnn.layers.input_errors import wrong_batch
from minibnn.layers.norm import Normalization, normalize, update_running
from minibnn.parameter import Parameter


def per_position(v: Array, x: Array) -> Array:
    """`v`, one value for each channel, broadcast to the positions of a sample of `x`.

    ``x - per_position(v, x)`` equals ``x - v``, and is faster: NumPy is slow along an axis as short
    as an image's channels.

    Shapes: v (channels,), x (batch, ..., channels); the result (..., channels).
    """
    if x.ndim == 2 or v.size == 1:
        return v
    xp = backend_of(x).xp
    return xp.ascontiguousarray(xp.broadcast_to(v, x.shape[1:]))


class ShiftBatchNorm(Normalization):
    """Batch normalisation in which every product of two values is a bit shift.

    .. equations::

        AP2(v)  the power of two nearest to v, with v's sign: PowerOfTwo
        training     c   = x - mean of x                           over all axes but the last
                     var = mean of c AP2(c)
                     r   = 1 / sqrt(var + epsilon)
                     y   = AP2(gamma) (c AP2(r)) + beta
                     running <- momentum running + (1 - momentum) batch's   for mean and var
        evaluation   the same with the running mean and variance
        backward     dbeta  = sum dy
                     dgamma = sum dy c AP2(r)
                     dr     = AP2(gamma) sum dy c,  dvar = -r^3 dr / 2
                     dc     = AP2(gamma) AP2(r) dy + dvar / n (c + AP2(c))
                     dx     = dc - mean of dc

    The backward is the exact derivative of the forward, where each AP2 is straight-through: its
    value is rounded, its slope is 1. The paper gives no backward. Its authors' Torch code
    also rounds r and c where they appear in dvar, and c AP2(r) in dgamma.

    The forward is the paper's, with the beta that the Torch code adds. That code keeps a running
    r; here it is a running variance, as in `BatchNorm`. var lies between 1 / sqrt(2) and sqrt(2)
    times the true variance, and no factor makes it unbiased. A batch whose mean or variance is not
    finite leaves the running statistics unchanged.

    Shapes: x and y (batch, ..., channels); gamma, beta and the statistics (channels,).

    Args:
        channels: size of the last axis.
        momentum: how much of the running statistics each batch keeps, in [0, 1); 7/8 is the
            Torch code's.
        epsilon: added to the variance, positive.

    Raises:
        ValueError: from `forward` in training, for a batch with one value per channel.

    Reference: Courbariaux et al. 2016, arXiv:1602.02830, algorithm 3 (shift-based batch
    normalising transform), and the module ``BatchNormalizationShiftPow2`` of their Torch code.
    """

    def __init__(self, channels: int, *, momentum: float = 0.875, epsilon: float = 1e-5) -> None:
        super().__init__(channels, momentum=momentum, epsilon=epsilon)
        self.gamma = Parameter("gamma", (self.channels,), Fill(1.0))
        self.beta = Parameter("beta", (self.channels,), Fill(0.0))
        self.ap2 = PowerOfTwo()

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``AP2(gamma) (c AP2(r)) + beta``, with the batch's statistics in training."""
        self.check_input(x)
        (n,) = over_whole_batch(x.size // self.channels)
        if x.ndim < 2 or x.shape[-1] != self.channels or (train and n < 2):
            raise wrong_batch(self, x, self.channels)
        gamma = self.ap2.forward(self.gamma.data)
        if not train:
            r = 1 / self.backend.xp.sqrt(self.running_var.data + self.epsilon)
            scale = gamma * self.ap2.forward(r)
            return self.backend.run(normalize, x, self.running_mean.data, scale, self.beta.data)

        mean = batch_mean(x)
        c = x - per_position(mean, x)
        c_ap2 = self.ap2.forward(c)
        var = batch_mean(c * c_ap2)
        # 1 / sqrt(var + epsilon), but nan if var overflowed; see `batch_norm`.
        r = self.backend.xp.sqrt(var + self.epsilon) / (var + self.epsilon)
        r_ap2 = self.ap2.forward(r)
        y = c * per_position(gamma * r_ap2, x)
        y += per_position(self.beta.data, x)
        running = self.running_mean.data, self.running_var.data
        self.backend.run(update_running, *running, mean, var, self.momentum, 1.0)
        self.saved = (x.shape, c, c_ap2, r, r_ap2, gamma)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Set dgamma and dbeta; return dx."""
        c, c_ap2, r, r_ap2, gamma = self.take_saved(dy)
        batch_sum(dy, out=self.beta.grad)
        dy_c = batch_sum(dy * c)
        self.gamma.grad[...] = dy_c * r_ap2
        if not need_dx:
            return None
        n, dy_c = over_whole_batch(dy.size // self.channels, dy_c)
        dr = gamma * dy_c
        dvar = -r * r * r * dr / 2
        dc = c + c_ap2
        dc *= per_position(dvar / n, dy)
        dc += dy * per_position(gamma * r_ap2, dy)
        dc -= per_position(batch_mean(dc), dy)
        return dc
