"""Batch normalisation of the whole tensor at once."""

from __future__ import annotations

from minibnn.backend import Array
from minibnn.layers.norm import BatchNorm


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

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``gamma x_hat + beta``, as if `x` had one more axis, of its only channel."""
        self.check_input(x)
        y = super().forward(x[..., None], train=train).reshape(x.shape)
        if train:
            self.saved = (x.shape, *self.saved[1:])
        return y
