"""The fully connected layer."""

from __future__ import annotations

from minibnn.backend import Array, batch_sum, matmul
from minibnn.checks import integer
from minibnn.feedback import Feedback
from minibnn.functions import Function
from minibnn.initializers import Initializer
from minibnn.layers.input_errors import wrong_axes
from minibnn.layers.weighted import Weighted


class Dense(Weighted):
    """The fully connected layer, ``z = x W + b``, for real or binary weights.

    Three choices are independent: the weights that the forward product uses, the weights that the
    error travels back through, and whether there is a bias. W holds the latent weights: real
    numbers that the optimiser moves a little in each step, even if Wq has only their signs.

    .. equations::

        forward    Wq = quantizer(W)              the weights that the product uses
                   z  = x Wq + b
        backward   dWq = x.T dz
                   dW  = quantizer.backward(dWq, W)
                   db  = sum of dz over the batch
                   dx  = dz B.T                   B is Wq, or what the feedback returns instead

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
        TypeError: for a quantizer that is not a `Function`, or a feedback that is not a `Feedback`
            (a class instead of an object, say);
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
        who = type(self).__name__
        self.in_features = integer(who, "in_features", in_features)
        self.out_features = integer(who, "out_features", out_features)
        self.set_weights(
            (self.in_features, self.out_features),
            quantizer=weight_quantizer,
            feedback=feedback,
            bias=bias,
            init=weight_init,
            bound=weight_bound,
            lr_scale=lr_scale,
        )

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.in_features} -> {self.out_features})"

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``z = x Wq + b``."""
        self.check_input(x, self.in_features)
        if x.ndim != 2:
            raise wrong_axes(self, x)
        Wq = self.quantized_weight(train)
        z = self.product(x, Wq)
        if self.bias is not None:
            z += self.bias.data
        if train:
            self.note_input(x)
            self.saved = (z.shape, x, Wq)
        return z

    def backward(self, dz: Array, *, need_dx: bool = True) -> Array | None:
        """Set dW and db; return ``dx = dz B.T``."""
        x, Wq = self.take_saved(dz)  # which also checks dz against the shape of z
        dWq = matmul(x.T, dz, out=self.weight.grad)
        dW = self._quantizer.backward(dWq, self.weight.data)
        if dW is not self.weight.grad:  # some quantizers return dWq itself
            self.weight.grad[...] = dW
        if self.bias is not None:
            batch_sum(dz, out=self.bias.grad)
        if not need_dx:
            return None
        B = self.backward_weights(Wq)
        return self.backend.xp.zeros_like(x) if B is None else matmul(dz, B.T)

    def product(self, x: Array, W: Array) -> Array:
        """The bilinear part of the layer, ``x W``."""
        return matmul(x, W)
