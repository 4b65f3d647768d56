"""PReLU: a rectifier whose slope below zero is learned."""

from __future__ import annotations

from typing import Any

from minibnn.backend import Array, batch_sum
from minibnn.checks import integer
from minibnn.initializers import Fill, Initializer
from minibnn.layers.base import Layer
from minibnn.parameter import Parameter


class PReLU(Layer):
    """The identity above zero, and a line with a learned slope below it, for each channel.

    .. equations::

        forward    y  = x where x > 0, else a x
        backward   da = sum of dy x where x <= 0        over all axes but the last
                   dx = dy where x > 0, else a dy

    Binary networks for large images use it behind a batch norm and its shortcut, where real numbers
    are. In front of a sign it does nothing as long as a > 0.

    Packed, it takes fixed-point numbers of 16 bits; in front of a sign it is left out if a > 0.

    Shapes: x and y (batch, ..., channels), a (channels,).

    Args:
        channels: size of the last axis.
        slope_init: draws a; None for 0.25 everywhere.

    Attributes:
        slope: a.

    Raises:
        ValueError: from `forward`, for an x with other channels.

    References: He et al. 2015, arXiv:1502.01852, equation 1, and equation 3 for da. They advise
    against weight decay of a, which pushes it towards zero, to a plain ReLU. In binary networks:
    Martinez et al. 2020, arXiv:2003.11535; ReActNet, arXiv:2003.03488.

    >>> import numpy as np
    >>> PReLU(2).initialize(0).forward(np.array([[-2, 4]], dtype=np.float32))
    array([[-0.5,  4. ]], dtype=float32)
    """

    def __init__(self, channels: int, *, slope_init: Initializer | None = None) -> None:
        self.channels = integer("PReLU", "channels", channels)
        init = Fill(0.25) if slope_init is None else slope_init
        self.slope = Parameter("slope", (self.channels,), init)

    def arguments(self) -> dict[str, Any]:
        """The constructor's argument that is no attribute; see `minibnn.description`."""
        return {"slope_init": self.slope.initializer}

    def __repr__(self) -> str:
        return f"PReLU({self.channels})"

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """``x`` where ``x > 0``, else ``a x``."""
        self.check_input(x, self.channels)
        y = self.backend.xp.where(x > 0, x, self.slope.data * x)
        if train:
            self.saved = (y.shape, x)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Array | None:
        """Set da; return dx."""
        (x,) = self.take_saved(dy)
        xp = self.backend.xp
        batch_sum(dy * xp.minimum(x, 0), out=self.slope.grad)
        return xp.where(x > 0, dy, self.slope.data * dy) if need_dx else None
