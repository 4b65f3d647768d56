"""The layer that measures distances."""

from __future__ import annotations

from minibnn.backend import Array
from minibnn.feedback import Feedback
from minibnn.functions import Function
from minibnn.layers.base import require
from minibnn.layers.weighted import Weighted
from minibnn.parameter import Initializer


class Radial(Weighted):
    """The negative squared distance of the input to each column of the weights.

    .. code-block:: text

        forward    Wq   = quantizer(W)
                   z_nk = -|x_n - w_k|^2 + b_k           w_k = column k of Wq
                   z    = 2 x Wq - |w|^2 - |x|^2 + b
        backward   dWq  = 2 (x.T dz - Wq sum of dz over the batch)
                   dW   = quantizer.backward(dWq, W)
                   db   = sum of dz over the batch
                   dx   = 2 (dz B.T - x sum of dz over the outputs)
                                                         B = feedback.backward_weights(Wq)

    The three choices are those of `Dense`. A feedback takes the place of the weights, not of x;
    with `Blocked`, dx is 0. In float32, distances that are small beside ``|x|^2`` lose digits.

    Shapes: x (batch, in_features), W and B (in_features, out_features), b (out_features,),
    z (batch, out_features).

    Args:
        in_features: width of the input.
        out_features: how many points the distance is taken to.
        weight_quantizer: the function between the latent weights W and the points.
        feedback: which weights the error travels back through; None for `Transpose`.
        bias: whether there is a b.
        weight_init: draws W. b starts at 0.
        weight_bound: the optimiser keeps W in [-weight_bound, weight_bound]; None for no bound.
        lr_scale: multiplies the learning rate of W.

    Raises:
        TypeError: as from `Dense`.
        ValueError: from `forward`, for an x of another shape.

    Reference: ``radial`` and ``radial_asym`` of the Julia package Bender.jl.

    >>> import numpy as np
    >>> layer = Radial(2, 2).initialize(0)
    >>> layer.weight.data[...] = [[0, 3], [0, 4]]
    >>> layer.forward(np.array([[0, 0], [3, 3]], dtype=np.float32))
    array([[  0., -25.],
           [-18.,  -1.]], dtype=float32)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        weight_quantizer: Function | None = None,
        feedback: Feedback | None = None,
        bias: bool = True,
        weight_init: Initializer | None = None,
        weight_bound: float | None = None,
        lr_scale: float = 1.0,
    ) -> None:
        self.in_features = require("Radial", "in_features", in_features, int)
        self.out_features = require("Radial", "out_features", out_features, int)
        self.set_weights(
            (in_features, out_features),
            quantizer=weight_quantizer,
            feedback=feedback,
            bias=bias,
            init=weight_init,
            bound=weight_bound,
            lr_scale=lr_scale,
        )

    def __str__(self) -> str:
        return f"Radial({self.in_features} -> {self.out_features})"

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``z = -|x - w|^2 + b``."""
        self.check_input(x, self.in_features)
        if x.ndim != 2:
            raise ValueError(
                f"{self}: expected x of shape (batch, {self.in_features}), got {x.shape}"
            )
        Wq = self.quantized_weight(train)
        z = self.product(x, Wq)
        if self.bias is not None:
            z += self.bias.data
        if train:
            self.saved = (z.shape, x, Wq)
        return z

    def backward(self, dz: Array, *, need_dx: bool = True) -> Array | None:
        """Set dW and db; return ``dx = 2 (dz B.T - x sum_k dz)``."""
        x, Wq = self.take_saved(dz)
        db = dz.sum(axis=0)
        dWq = self.backend.matmul(x.T, dz, out=self.weight.grad)
        dWq -= Wq * db
        dWq *= 2
        self.set_weight_gradient(dWq)
        if self.bias is not None:
            self.bias.grad[...] = db
        if not need_dx:
            return None
        B = self.backward_weights(Wq)
        if B is None:
            return self.backend.xp.zeros_like(x)
        dx = self.backend.matmul(dz, B.T)
        dx -= x * dz.sum(axis=1, keepdims=True)
        dx *= 2
        return dx

    def product(self, x: Array, W: Array) -> Array:
        """What the layer computes of the input and the weights, ``-|x - w|^2``."""
        z = self.backend.matmul(x, W)
        z *= 2
        z -= (W * W).sum(axis=0)
        z -= (x * x).sum(axis=1, keepdims=True)
        return z

    def macs(self, y_shape: tuple[int, ...]) -> int:
        """One for each weight: the squares add one for each input and are not counted."""
        return self.weight.size
