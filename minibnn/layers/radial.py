"""Radial: a layer of squared distances."""

from __future__ import annotations

from minibnn.backend import Array, batch_sum, matmul
from minibnn.layers.dense import Dense


class Radial(Dense):
    """The negative squared distance of the input to each column of the weights.

    .. equations::

        forward    Wq   = quantizer(W)
                   z_nk = -|x_n - w_k|^2 + b_k           w_k = column k of Wq
                   z    = 2 x Wq - |w|^2 - |x|^2 + b
        backward   dWq  = 2 (x.T dz - Wq sum of dz over the batch)
                   dW   = quantizer.backward(dWq, W)
                   db   = sum of dz over the batch
                   dx   = 2 (dz B.T - x sum of dz over the outputs)
                                                         B = feedback.backward_weights(Wq)

    It is `Dense` with another product: it has the same arguments and shapes, and the same choices
    of weights, feedback and bias. The columns of the weight are points. A feedback replaces the
    weights, not x; with `Blocked`, dx is 0. In float32, distances much smaller than ``|x|^2`` lose
    digits.

    Reference: ``radial`` and ``radial_asym`` of the Julia package Bender.jl.

    >>> import numpy as np
    >>> layer = Radial(2, 2).initialize(0)
    >>> layer.weight.data[...] = [[0, 3], [0, 4]]
    >>> layer.forward(np.array([[0, 0], [3, 3]], dtype=np.float32))
    array([[  0., -25.],
           [-18.,  -1.]], dtype=float32)
    """

    def backward(self, dz: Array, *, need_dx: bool = True) -> Array | None:
        """Set dW and db; return ``dx = 2 (dz B.T - x sum_k dz)``."""
        x, Wq = self.take_saved(dz)
        db = batch_sum(dz)
        dWq = matmul(x.T, dz, out=self.weight.grad)
        dWq -= Wq * db
        dWq *= 2
        dW = self._quantizer.backward(dWq, self.weight.data)
        if dW is not self.weight.grad:  # some quantizers return dWq itself
            self.weight.grad[...] = dW
        if self.bias is not None:
            self.bias.grad[...] = db
        if not need_dx:
            return None
        B = self.backward_weights(Wq)
        if B is None:
            return self.backend.xp.zeros_like(x)
        dx = matmul(dz, B.T)
        dx -= x * dz.sum(axis=1, keepdims=True)
        dx *= 2
        return dx

    def product(self, x: Array, W: Array) -> Array:
        """``-|x - w|^2``, without the bias."""
        z = matmul(x, W)
        z *= 2
        z -= (W * W).sum(axis=0)
        z -= (x * x).sum(axis=1, keepdims=True)
        return z
