"""The base class of layers with a weight: quantizer, feedback, bias."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minibnn.backend import Array
from minibnn.checks import require
from minibnn.feedback import Feedback, Transpose
from minibnn.functions import Function, Identity, weight_levels
from minibnn.initializers import Fill, GlorotUniform, Initializer
from minibnn.layers.base import Layer
from minibnn.parameter import Buffer, Parameter


class Weighted(Layer):
    """A layer with a weight and an optional bias; the weight's last axis counts the outputs.

    The forward pass uses ``Wq = quantizer(W)``; the error travels back through ``B``, which the
    feedback chooses. The equations stand in the layers themselves.

    Attributes:
        weight: the latent weights W.
        bias: one value for each output, or None.
        weight_quantizer: `Identity` for real weights.
        feedback: `Transpose` for backpropagation.
    """

    def set_weights(
        self,
        shape: tuple[int, ...],
        *,
        quantizer: Function | None,
        feedback: Feedback | None,
        bias: bool,
        init: Initializer | None,
        bound: float | None,
        lr_scale: float,
    ) -> None:
        """Declare weight, quantizer, feedback and bias; called by the layer's ``__init__``."""
        who = type(self).__name__
        quantizer = Identity() if quantizer is None else quantizer
        feedback = Transpose() if feedback is None else feedback
        self.feedback = require(who, "feedback", feedback, Feedback)
        init = GlorotUniform() if init is None else init
        self.weight = Parameter("weight", shape, init, bound=bound, lr_scale=lr_scale)
        self.weight_quantizer = require(who, "weight_quantizer", quantizer, Function)
        self.bias = Parameter("bias", shape[-1:], Fill(0.0)) if bias else None

    @property
    def weight_quantizer(self) -> Function:
        """The function from the latent weights to the weights that the product uses."""
        return self._quantizer

    @weight_quantizer.setter
    def weight_quantizer(self, function: Function) -> None:
        self._quantizer = function
        self.weight.quantizer = function  # for optimisers that take binary weights only

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments that are no attributes here; see `minibnn.description`."""
        w = self.weight
        found = {"weight_init": w.initializer, "weight_bound": w.bound, "lr_scale": w.lr_scale}
        return {**found, "bias": self.bias is not None}

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

    def quantized_weight(self, train: bool) -> Array:
        """``Wq``, the weights that the forward pass uses."""
        quantizer, W = self._quantizer, self.weight.data
        Wq = quantizer.train_forward(W) if train else quantizer.forward(W)
        if Wq.dtype != self.dtype:
            raise TypeError(
                f"{self}: expected {self.weight_quantizer!r} to keep the dtype {self.dtype}, got "
                f"{Wq.dtype}; end its forward with .astype(x.dtype), or use minibnn.functions.sign"
            )
        return Wq

    def named_quantized(self) -> Iterator[tuple[str, Parameter, Function]]:
        """The weight, if its quantizer has a finite number of values."""
        shape = self.weight.shape
        if weight_levels(self.weight_quantizer, len(shape), shape[-1]) is not None:
            yield "weight", self.weight, self.weight_quantizer
        yield from super().named_quantized()

    def backward_weights(self, Wq: Array) -> Array | None:
        """B, the weights that the error travels back through; None for zeros."""
        B = self.feedback.backward_weights(Wq)
        if B is not None and B.shape != Wq.shape:
            raise ValueError(
                f"{self}: expected {self.feedback!r} to give weights of shape {Wq.shape}, "
                f"got {B.shape}"
            )
        return B

    def buffers(self) -> Iterator[Buffer]:
        """The feedback's fixed weights, if it has any."""
        yield from super().buffers()
        yield from self.feedback.buffers()

    def _initialize(self, rng: np.random.Generator, dtype: np.dtype[Any]) -> None:
        super()._initialize(rng, dtype)
        self.feedback.initialize(self.weight.shape, rng, dtype)
