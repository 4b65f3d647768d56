"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minibnn.backend import Array
from minibnn.feedback import Feedback, Transpose
from minibnn.functions import Function, Identity
from minibnn.layers.base import Layer, require
from minibnn.parameter import Buffer, Fill, GlorotUniform, Initializer, Parameter


class Dense(Layer):
    """A matrix product with three independent choices: what forward sees, what backward sees, bias.

    .. code-block:: text

        forward    Wq = quantizer(W)              the weights that the product sees
                   z  = x Wq + b
        backward   dWq = x.T dz
                   dW  = quantizer.backward(dWq, W)
                   db  = sum of dz over the batch
                   dx  = dz B.T                   B = feedback.backward_weights(Wq)

    Shapes: x (batch, in_features), W and B (in_features, out_features), b (out_features,),
    z (batch, out_features).

    Args:
        in_features: width of the input.
        out_features: width of the output.
        weight_quantizer: the function between the latent weights W and the product;
            ``SignSTE()`` makes the weights binary. None for real weights.
        feedback: which weights the error travels back through; None for `Transpose`, which is
            backpropagation.
        bias: whether there is a b.
        weight_init: draws W. b starts at 0.
        weight_bound: the optimiser keeps W in [-weight_bound, weight_bound]; None for no bound.
        lr_scale: multiplies the learning rate of W; see `glorot_lr_scale`.

    Raises:
        TypeError: for a quantizer or feedback that is none (a class instead of an object, say);
            from `forward` for an x of another dtype or on another device.
        ValueError: from `forward`, for an x of another shape.
        RuntimeError: from `forward` before `initialize`, from `backward` before ``forward``.

    References: binary weights with a real-valued copy for the updates, Courbariaux et al. 2015,
    arXiv:1511.00363, algorithm 1.

    >>> import numpy as np
    >>> from minibnn import SignSTE
    >>> layer = Dense(3, 2, weight_quantizer=SignSTE()).initialize(np.random.default_rng(0))
    >>> layer.forward(np.array([[1, 2, 4]], dtype=np.float32))
    array([[3., 1.]], dtype=float32)
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
        self.in_features = require("Dense", "in_features", in_features, int)
        self.out_features = require("Dense", "out_features", out_features, int)
        quantizer = Identity() if weight_quantizer is None else weight_quantizer
        self.weight_quantizer = require("Dense", "weight_quantizer", quantizer, Function)
        feedback = Transpose() if feedback is None else feedback
        self.feedback = require("Dense", "feedback", feedback, Feedback)
        self.weight = Parameter(
            "weight",
            (in_features, out_features),
            GlorotUniform() if weight_init is None else weight_init,
            bound=weight_bound,
            lr_scale=lr_scale,
        )
        self.bias = Parameter("bias", (out_features,), Fill(0.0)) if bias else None

    def __str__(self) -> str:
        return f"Dense({self.in_features} -> {self.out_features})"

    def __repr__(self) -> str:
        options = []
        if not isinstance(self.weight_quantizer, Identity):
            options.append(f"weight_quantizer={self.weight_quantizer!r}")
        if not isinstance(self.feedback, Transpose):
            options.append(f"feedback={self.feedback!r}")
        if self.bias is None:
            options.append("bias=False")
        if self.weight.bound is not None:
            options.append(f"weight_bound={self.weight.bound}")
        return ", ".join([str(self)[:-1], *options]) + ")"

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``z = x Wq + b``."""
        self.check_input(x, self.in_features)
        if x.ndim != 2:
            raise ValueError(
                f"{self}: expected x of shape (batch, {self.in_features}), got {x.shape}"
            )
        Wq = self.weight_quantizer.forward(self.weight.data)
        z = self.product(x, Wq)
        if self.bias is not None:
            z += self.bias.data
        if train:
            self.saved = (z.shape, x, Wq)
        return z

    def backward(self, dz: Array, *, need_dx: bool = True) -> Array | None:
        """Set dW and db; return ``dx = dz B.T``."""
        x, Wq = self.take_saved(dz)
        dWq = self.backend.matmul(x.T, dz, out=self.weight.grad)
        dW = self.weight_quantizer.backward(dWq, self.weight.data)
        if dW is not dWq:
            self.weight.grad[...] = dW
        if self.bias is not None:
            dz.sum(axis=0, out=self.bias.grad)
        if not need_dx:
            return None
        B = self.feedback.backward_weights(Wq)
        if B is None:
            return self.backend.xp.zeros_like(x)
        if B.shape != Wq.shape:
            raise ValueError(
                f"{self}: expected {self.feedback!r} to give weights of shape {Wq.shape}, "
                f"got {B.shape}"
            )
        return self.backend.matmul(dz, B.T)

    def product(self, x: Array, W: Array) -> Array:
        """The bilinear part of the layer, ``x W``."""
        return self.backend.matmul(x, W)

    def buffers(self) -> Iterator[Buffer]:
        """The feedback's fixed weights, if it has any."""
        yield from super().buffers()
        yield from self.feedback.buffers()

    def _initialize(self, rng: np.random.Generator, dtype: np.dtype[Any]) -> None:
        super()._initialize(rng, dtype)
        self.feedback.initialize(self.weight.shape, rng, dtype)
